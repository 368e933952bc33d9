//! A transaction as the log has it.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{
    Array, BigInt, Jsonb, Nullable, Record, Text, Timestamptz, Uuid as SqlUuid,
};
use serde::Serialize;
use uuid::Uuid;

use crate::query::op::Op;
use crate::query::page::{Entry, EntryId, Position};
use crate::query::recorded_value::RecordedRow;
use crate::record::ActorRef;

/// A database transaction in which something was captured: who, why, and from where.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuditTransaction {
    /// `audit_transactions.id`.
    pub id: Uuid,
    /// PostgreSQL's number of it, in the cluster that it ran in.
    pub txid: i64,
    /// When its first change was captured.
    pub occurred_at: DateTime<Utc>,
    /// When it committed; `None` if the log has lost the seal.
    pub committed_at: Option<DateTime<Utc>>,
    /// Who wrote.
    pub actor: Option<ActorRef>,
    /// The first action recorded in it.
    pub action_id: Option<Uuid>,
    /// What wrote, such as the name of a service.
    pub source: Option<String>,
    /// Whatever else the application said.
    pub meta: Option<RecordedRow>,
    /// The request that it served.
    pub request_id: Option<String>,
    /// What ties it to other transactions.
    pub correlation_id: Option<String>,
    /// The job that it was part of.
    pub job_id: Option<String>,
    /// Who had logged in to the database.
    pub session_user: String,
    /// The role that wrote, if another one was set.
    pub role: Option<String>,
    /// `application_name`.
    pub application_name: Option<String>,
    /// The address of the database's client; `None` for a Unix socket.
    pub client_address: Option<String>,
}

/// What a transaction is in SQL, of the table `tl_t`.
pub(in crate::query) const TRANSACTION: &str = "ROW(tl_t.id, tl_t.txid::text::bigint, tl_t.occurred_at, \
     (SELECT max(tl_s.committed_at) FROM audit_commits AS tl_s WHERE tl_s.transaction_id = tl_t.id), tl_t.actor_ref, \
     tl_t.action_id, tl_t.source, tl_t.meta, tl_t.request_id, tl_t.correlation_id, tl_t.job_id, tl_t.session_user_name, \
     tl_t.role_name, tl_t.application_name, host(tl_t.client_address))";

/// The type of an [`AuditTransaction`] in SQL.
pub type TransactionRecord = Record<(
    SqlUuid,
    BigInt,
    Timestamptz,
    Nullable<Timestamptz>,
    Nullable<Jsonb>,
    Nullable<SqlUuid>,
    Nullable<Text>,
    Nullable<Jsonb>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Text,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
)>;

impl FromSql<TransactionRecord, Pg> for AuditTransaction {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let (
            id,
            txid,
            occurred_at,
            committed_at,
            actor,
            action_id,
            source,
            meta,
            request_id,
            correlation_id,
            job_id,
            session_user,
            role,
            application_name,
            client_address,
        ) = FromSql::<TransactionRecord, Pg>::from_sql(value)?;
        Ok(Self {
            id,
            txid,
            occurred_at,
            committed_at,
            actor,
            action_id,
            source,
            meta,
            request_id,
            correlation_id,
            job_id,
            session_user,
            role,
            application_name,
            client_address,
        })
    }
}

/// How many changes of one kind a transaction made to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChangeCount {
    /// The table's schema.
    pub table_schema: String,
    /// The table's name.
    pub table_name: String,
    /// What happened.
    pub op: Op,
    /// How often.
    pub count: i64,
}

/// The type of a [`ChangeCount`].
pub type CountRecord = Record<(Text, Text, Text, BigInt)>;

impl FromSql<CountRecord, Pg> for ChangeCount {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let (table_schema, table_name, op, count) = FromSql::<CountRecord, Pg>::from_sql(value)?;
        Ok(Self {
            table_schema,
            table_name,
            op,
            count,
        })
    }
}

/// A transaction with what it did, in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TransactionSummary {
    /// The transaction.
    pub transaction: AuditTransaction,
    /// Its changes by table and operation, ordered by both.
    pub counts: Vec<ChangeCount>,
}

/// The type of a [`TransactionSummary`].
pub type SummaryRecord = Record<(TransactionRecord, Array<CountRecord>)>;

impl FromSql<SummaryRecord, Pg> for TransactionSummary {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let (transaction, counts) = FromSql::<SummaryRecord, Pg>::from_sql(value)?;
        Ok(Self {
            transaction,
            counts,
        })
    }
}

impl Entry for TransactionSummary {
    type Sql = SummaryRecord;

    fn position(&self) -> Position {
        Position {
            at: self.transaction.occurred_at,
            id: EntryId::Transaction(self.transaction.id),
        }
    }
}
