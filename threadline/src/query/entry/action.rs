//! An action as the log has it.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{Jsonb, Nullable, Record, Text, Timestamptz, Uuid as SqlUuid};
use serde::Serialize;
use uuid::Uuid;

use crate::record::{ActionStatus, ActorRef};

/// What the application said that it did, and why; see [`Action`](crate::Action).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuditAction {
    /// `audit_actions.id`.
    pub id: Uuid,
    /// The database transaction, whether or not anything was captured in it.
    pub transaction_id: Uuid,
    /// What was done, such as `invoice.refunded`.
    pub name: String,
    /// Who acted.
    pub actor: Option<ActorRef>,
    /// How it turned out.
    pub status: ActionStatus,
    /// What was done, apart from what it was done to.
    pub verb: Option<String>,
    /// A group of actions.
    pub category: Option<String>,
    /// Why, as a term.
    pub reason: Option<String>,
    /// Why, in somebody's words.
    pub comment: Option<String>,
    /// What ties it to other requests and services.
    pub correlation_id: Option<String>,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// The job that caused it.
    pub job_id: Option<String>,
    /// When it was recorded.
    pub inserted_at: DateTime<Utc>,
    /// The session that recorded it: `session_user`. The actor is what the application says.
    pub session_user: String,
    /// The role that was set with SET ROLE, if any.
    pub role: Option<String>,
}

/// What an action is in SQL, of the table `tl_x`.
pub(in crate::query) const ACTION: &str = "ROW(tl_x.id, tl_x.transaction_id, tl_x.name, tl_x.actor_ref, tl_x.status, \
     tl_x.verb, tl_x.category, tl_x.reason, tl_x.comment, tl_x.correlation_id, tl_x.request_id, tl_x.job_id, \
     tl_x.inserted_at, tl_x.session_user_name, tl_x.role_name)";

/// The type of an [`AuditAction`] in SQL.
pub type ActionRecord = Record<(
    SqlUuid,
    SqlUuid,
    Text,
    Nullable<Jsonb>,
    Text,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Timestamptz,
    Text,
    Nullable<Text>,
)>;

impl FromSql<ActionRecord, Pg> for AuditAction {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let (
            id,
            transaction_id,
            name,
            actor,
            status,
            verb,
            category,
            reason,
            comment,
            correlation_id,
            request_id,
            job_id,
            inserted_at,
            session_user,
            role,
        ) = FromSql::<ActionRecord, Pg>::from_sql(value)?;
        Ok(Self {
            id,
            transaction_id,
            name,
            actor,
            status,
            verb,
            category,
            reason,
            comment,
            correlation_id,
            request_id,
            job_id,
            inserted_at,
            session_user,
            role,
        })
    }
}
