//! The day shift, blocking, through an r2d2 pool: a customer is signed up, billed, and changed.

use bigdecimal::BigDecimal;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, PooledConnection};
use threadline::{Action, ActorError, ActorRef, AuditContext, record_action};

use crate::models::{Customer, InvoiceLine};
use crate::schema::{customers, invoice_lines, invoices};

/// A connection of the pool.
pub type Connection = PooledConnection<ConnectionManager<PgConnection>>;

/// Ada signs a customer up and sends an invoice of two lines: one transaction, four audited rows. Returns the ids.
///
/// # Errors
///
/// Those of the database.
pub fn sign_up(
    conn: &mut Connection,
) -> Result<(i64, i64), Box<dyn std::error::Error + Send + Sync>> {
    let ada = AuditContext::new(ActorRef::user("ada")?)
        .source("billing-api")
        .request_id("req-1");
    Ok(threadline::transaction(conn, &ada, |conn| {
        let customer_id = diesel::insert_into(customers::table)
            .values((
                customers::name.eq("Grace Hopper"),
                customers::email.eq("grace@navy.example"),
                customers::tax_id.eq("US-123-45-6789"),
                customers::password_hash.eq("$argon2id$secret"),
            ))
            .returning(customers::id)
            .get_result(conn)?;
        let invoice_id = diesel::insert_into(invoices::table)
            .values((
                invoices::customer_id.eq(customer_id),
                invoices::total.eq(cents(12_000)),
            ))
            .returning(invoices::id)
            .get_result(conn)?;
        let line = |position, text: &str, amount| InvoiceLine {
            invoice_id,
            position,
            text: text.to_owned(),
            amount: cents(amount),
        };
        diesel::insert_into(invoice_lines::table)
            .values([
                line(1, "Compiler, one year", 10_000),
                line(2, "Nanoseconds, a bundle", 2_000),
            ])
            .execute(conn)?;
        QueryResult::Ok((customer_id, invoice_id))
    })?)
}

/// Ben corrects the customer's address, and her tax number with it.
///
/// # Errors
///
/// Those of the database.
pub fn correct_address(
    conn: &mut Connection,
    customer: i64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let ben = AuditContext::new(ActorRef::user("ben")?).source("support-desk");
    threadline::transaction(conn, &ben, |conn| {
        diesel::update(customers::table.find(customer))
            .set((
                customers::email.eq("grace@cobol.example"),
                customers::tax_id.eq("US-987-65-4321"),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// The admin takes a line off the invoice, and says why.
///
/// # Errors
///
/// Those of the database.
pub fn waive_line(
    conn: &mut Connection,
    invoice: i64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let root = AuditContext::new(admin()?).correlation_id("ticket-17");
    threadline::transaction(conn, &root, |conn| {
        record_action(
            Action::new("invoice.line_waived")
                .reason("goodwill")
                .require_changes(),
        )
        .get_result::<uuid::Uuid>(conn)?;
        diesel::delete(invoice_lines::table.find((invoice, 2))).execute(conn)?;
        diesel::update(invoices::table.find(invoice))
            .set(invoices::total.eq(cents(10_000)))
            .execute(conn)
    })?;
    Ok(())
}

/// What happens to a write without an actor.
///
/// # Errors
///
/// The refusal, which is what is shown.
pub fn write_anonymously(conn: &mut Connection, invoice: i64) -> QueryResult<usize> {
    diesel::update(invoices::table.find(invoice))
        .set(invoices::total.eq(cents(1)))
        .execute(conn)
}

/// The customer as she is now.
///
/// # Errors
///
/// Those of the database.
pub fn customer(conn: &mut Connection, id: i64) -> QueryResult<Customer> {
    customers::table
        .find(id)
        .select(Customer::as_select())
        .get_result(conn)
}

/// The administrator.
///
/// # Errors
///
/// Never for this id.
pub fn admin() -> Result<ActorRef, ActorError> {
    ActorRef::admin("root")
}

fn cents(amount: i64) -> BigDecimal {
    BigDecimal::new(amount.into(), 2)
}
