//! The application's models. `Audited` is all that Threadline adds to them.

use std::io::Write as _;

use bigdecimal::BigDecimal;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{self, IsNull, Output, ToSql};
use threadline::Audited;

use crate::schema::{customers, invoice_lines, invoices, sql_types};

/// A customer. The log keeps no password hash at all, and shows of a tax id only that there is one.
#[derive(Debug, Clone, Queryable, Selectable, Identifiable, Audited)]
#[diesel(table_name = customers)]
#[audited(store_changed_from, except_columns(updated_at), exclude(password_hash))]
pub struct Customer {
    /// The key.
    pub id: i64,
    /// The name.
    pub name: String,
    /// Where invoices go.
    pub email: String,
    /// The tax number.
    #[audited(mask)]
    pub tax_id: Option<String>,
}

/// An invoice. Nobody changes one without saying who they are.
#[derive(Debug, Clone, Queryable, Selectable, Identifiable, Audited)]
#[diesel(table_name = invoices)]
#[audited(store_changed_from, require_actor)]
pub struct Invoice {
    /// The key.
    pub id: i64,
    /// Who pays.
    pub customer_id: i64,
    /// What they pay.
    pub total: BigDecimal,
    /// Whether they have.
    pub status: InvoiceStatus,
}

/// A line of an invoice: its key has two columns.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, Identifiable, Audited)]
#[diesel(table_name = invoice_lines, primary_key(invoice_id, position))]
#[audited(store_changed_from)]
pub struct InvoiceLine {
    /// The invoice.
    pub invoice_id: i64,
    /// The line's number on it.
    pub position: i32,
    /// What is billed.
    pub text: String,
    /// How much.
    pub amount: BigDecimal,
}

/// Where an invoice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = sql_types::InvoiceStatus)]
pub enum InvoiceStatus {
    /// Sent.
    Open,
    /// Settled.
    Paid,
    /// Cancelled.
    Void,
}

impl InvoiceStatus {
    /// The label in the database.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Void => "void",
        }
    }

    /// The status with this label.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        [Self::Open, Self::Paid, Self::Void]
            .into_iter()
            .find(|status| status.label() == label)
    }
}

impl ToSql<sql_types::InvoiceStatus, Pg> for InvoiceStatus {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.label().as_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<sql_types::InvoiceStatus, Pg> for InvoiceStatus {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let label = std::str::from_utf8(value.as_bytes())?;
        Self::from_label(label).ok_or_else(|| format!("no invoice status `{label}`").into())
    }
}
