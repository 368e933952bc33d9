//! Runs both shifts and prints what the log knows of them.

use std::io::Write;

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::result::Error;
use threadline::prelude::*;
use threadline::schema::audit_changes;
use threadline::{AsOf, Change};

use crate::billing;
use crate::models::{Customer, Invoice, InvoiceLine};
use crate::night;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Tells the story on a migrated database.
///
/// # Errors
///
/// Those of the database and of `out`.
pub fn tell(url: &str, out: &mut dyn Write) -> Result<()> {
    let pool = Pool::new(ConnectionManager::<PgConnection>::new(url))?;
    let mut conn = pool.get()?;
    let (customer, invoice) = billing::sign_up(&mut conn)?;
    billing::correct_address(&mut conn, customer)?;
    billing::waive_line(&mut conn, invoice)?;
    let refusal = billing::write_anonymously(&mut conn, invoice);
    let night = tokio::runtime::Runtime::new()?.block_on(night::run(url, invoice))?;

    writeln!(out, "Who changed the customer? (newest first)")?;
    for change in Customer::history(customer).load(&mut conn)? {
        writeln!(
            out,
            "  {}",
            line(&change, |customer| customer.email.clone())
        )?;
    }

    writeln!(out, "\nWhat does the log hold of her secrets?")?;
    let rows: Vec<Option<serde_json::Value>> = audit_changes::table
        .filter(audit_changes::table_name.eq("customers"))
        .filter(audit_changes::table_pk.eq(serde_json::json!({"id": customer.to_string()})))
        .order(audit_changes::id)
        .select(audit_changes::data_after)
        .load(&mut conn)?;
    for row in rows.iter().flatten() {
        writeln!(
            out,
            "  tax_id {}, password_hash {}",
            row["tax_id"],
            stored(row, "password_hash")
        )?;
    }
    writeln!(
        out,
        "  the table itself still has tax_id {:?}",
        billing::customer(&mut conn, customer)?.tax_id
    )?;

    writeln!(out, "\nWhich line was taken off the invoice?")?;
    for change in InvoiceLine::history((invoice, 2)).load(&mut conn)? {
        let text = |line: &InvoiceLine| format!("{}, {}", line.text, line.amount);
        writeln!(out, "  {}", line(&change, text))?;
    }

    writeln!(out, "\nWhat happens without an actor?")?;
    match refusal {
        Ok(_) => writeln!(out, "  it is written")?,
        Err(Error::DatabaseError(_, refused)) => {
            writeln!(out, "  refused: {}", refused.message())?;
            if let Some(hint) = refused.hint() {
                writeln!(out, "  hint: {hint}")?;
            }
        }
        Err(error) => return Err(error.into()),
    }

    writeln!(
        out,
        "\nWhat did the night do to the invoice? (newest first)"
    )?;
    for change in &night.history {
        writeln!(
            out,
            "  {}",
            line(change, |invoice| format!(
                "{}, {}",
                invoice.total,
                invoice.status.label()
            ))
        )?;
    }
    writeln!(out, "\nAnd how was it when the night began?")?;
    match night.before {
        AsOf::Found { row, .. } => writeln!(out, "  {}, {}", row.total, row.status.label())?,
        other => writeln!(out, "  {other:?}")?,
    }
    let now = Invoice::as_of(invoice, diesel::dsl::now)
        .get_result(&mut conn)?
        .into_row();
    let status = now.map_or("gone", |invoice| invoice.status.label());
    writeln!(
        out,
        "  now it is {status} again, from the values that the log had kept"
    )?;
    Ok(())
}

/// One change: what, who, where, and the row (for a delete, the last one) in the words of `describe`.
fn line<M>(change: &Change<M>, describe: impl Fn(&M) -> String) -> String {
    let actor = change
        .actor()
        .map_or("nobody".to_owned(), ToString::to_string);
    let fields = change
        .changed_fields
        .as_ref()
        .map_or(String::new(), |fields| {
            let from = change.changed_from.as_ref();
            let fields: Vec<_> = fields
                .iter()
                .map(|field| match from {
                    Some(from) => format!("{field} was {}", from[field]),
                    None => field.clone(),
                })
                .collect();
            format!(" ({})", fields.join(", "))
        });
    let row = change.after().or(change.deleted());
    let row = row.map(describe).unwrap_or_default();
    format!("{:<7} by {actor}: {row}{fields}", change.op.to_string())
}

fn stored(row: &serde_json::Value, column: &str) -> &'static str {
    if row.get(column).is_some() {
        "stored"
    } else {
        "not stored"
    }
}
