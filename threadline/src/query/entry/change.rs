//! A change as the log has it.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{
    Array, BigInt, Integer, Jsonb, Nullable, Record, Text, Timestamptz, Uuid as SqlUuid,
};
use serde::Serialize;
use uuid::Uuid;

use crate::query::change::ChangeTransaction;
use crate::query::op::Op;
use crate::query::page::{Entry, EntryId, Position};
use crate::query::recorded_value::RecordedRow;
use crate::query::redactions::Redactions;
use crate::record::ActorRef;

/// One captured change of any table, whole and untyped, with the transaction that it was part of.
///
/// | operation | `data_after` | `changed_fields` | `changed_from` |
/// |---|---|---|---|
/// | insert | the row | `None` | `None` |
/// | update | the row, but for `on_change` columns that stayed | the columns that changed, sorted | their values before, if the table keeps them |
/// | delete | `None` | `None` | the row, if the table keeps it |
/// | truncate | `None` | `None` | `None` |
/// | baseline | the row as it was seen | `None` | `None` |
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuditChange {
    /// Orders the changes of one row. It doesn't stand for the order of commits.
    pub id: i64,
    /// The database transaction.
    pub transaction_id: Uuid,
    /// When the row was written, by the server's clock.
    pub captured_at: DateTime<Utc>,
    /// The table's number in `audit_tables`, through renames.
    pub table_id: i32,
    /// The table's schema, as it was called then.
    pub table_schema: String,
    /// The table's name, as it was called then.
    pub table_name: String,
    /// What happened.
    pub op: Op,
    /// The key's columns, their values as JSON strings.
    pub key: RecordedRow,
    /// The row after the change.
    pub data_after: Option<RecordedRow>,
    /// The columns that changed.
    pub changed_fields: Option<Vec<String>>,
    /// Values before the change.
    pub changed_from: Option<RecordedRow>,
    /// What stands for redacted values in all of them.
    pub redactions: Redactions,
    /// Who and why; `None` if the log has lost the transaction.
    pub transaction: Option<ChangeTransaction>,
}

impl AuditChange {
    /// Who wrote, if it is known.
    #[must_use]
    pub fn actor(&self) -> Option<&ActorRef> {
        self.transaction.as_ref()?.actor.as_ref()
    }
}

/// What a change is in SQL, of the table `tl_p`. The transaction is looked up for each, since a join may read them all.
pub(in crate::query) const CHANGE: &str = "ROW(tl_p.id, tl_p.transaction_id, tl_p.captured_at, tl_p.table_id, \
     tl_p.table_schema, tl_p.table_name, tl_p.op, tl_p.table_pk, tl_p.data_after, tl_p.changed_fields, tl_p.changed_from, \
     coalesce((SELECT tl_g.redacted FROM audit_tables AS tl_g WHERE tl_g.id = tl_p.table_id), '{}'), \
     (SELECT ROW(tl_t.occurred_at, tl_t.actor_ref, tl_t.action_id, tl_t.source, tl_t.request_id, tl_t.correlation_id, \
     tl_t.job_id) FROM audit_transactions AS tl_t WHERE tl_t.id = tl_p.transaction_id))";

type TransactionSql = Record<(
    Timestamptz,
    Nullable<Jsonb>,
    Nullable<SqlUuid>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
)>;

/// The type of an [`AuditChange`] in SQL.
pub type ChangeRecord = Record<(
    BigInt,
    SqlUuid,
    Timestamptz,
    Integer,
    Text,
    Text,
    Text,
    Jsonb,
    Nullable<Jsonb>,
    Nullable<Array<Text>>,
    Nullable<Jsonb>,
    Jsonb,
    Nullable<TransactionSql>,
)>;

impl FromSql<TransactionSql, Pg> for ChangeTransaction {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let (occurred_at, actor, action_id, source, request_id, correlation_id, job_id) =
            FromSql::<TransactionSql, Pg>::from_sql(value)?;
        Ok(Self {
            occurred_at,
            actor,
            action_id,
            source,
            request_id,
            correlation_id,
            job_id,
        })
    }
}

impl FromSql<ChangeRecord, Pg> for AuditChange {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let (
            id,
            transaction_id,
            captured_at,
            table_id,
            table_schema,
            table_name,
            op,
            key,
            data_after,
            changed_fields,
            changed_from,
            redactions,
            transaction,
        ) = FromSql::<ChangeRecord, Pg>::from_sql(value)?;
        Ok(Self {
            id,
            transaction_id,
            captured_at,
            table_id,
            table_schema,
            table_name,
            op,
            key,
            data_after,
            changed_fields,
            changed_from,
            redactions,
            transaction,
        })
    }
}

impl Entry for AuditChange {
    type Sql = ChangeRecord;

    fn position(&self) -> Position {
        Position {
            at: self.captured_at,
            id: EntryId::Change(self.id),
        }
    }
}
