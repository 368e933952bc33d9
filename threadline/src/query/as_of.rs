//! What a row was at a moment.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromStaticSqlRow, Queryable};
use diesel::expression::TypedExpressionType;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid};

use super::answer::{Answer, AnswerRow};
use super::change::{Decoded, DecodedSql};
use super::decode_error::DecodeError;
use crate::audited::Audited;

/// A row at a moment, or why there is none.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AsOf<M> {
    /// The row as it was.
    Found {
        /// The row.
        row: M,
        /// The change that had left it so.
        origin: Origin,
        /// Columns whose value the capture policy keeps out of the log.
        redacted: Vec<String>,
    },
    /// The row had been deleted, or its table truncated.
    Deleted(Origin),
    /// The log covers the moment and knows of no such row.
    NotYetCreated,
    /// The log doesn't reach back to the moment: capture began later, or was interrupted.
    Unknown,
    /// The recorded row doesn't fit the table or the model any more.
    Undecodable {
        /// Which column, why, and what to do.
        problem: DecodeError,
        /// The change that recorded it.
        origin: Origin,
    },
}

/// The change that an [`AsOf`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// `audit_changes.id`.
    pub change_id: i64,
    /// Its transaction.
    pub transaction_id: uuid::Uuid,
    /// When it was written.
    pub captured_at: DateTime<Utc>,
}

impl<M> AsOf<M> {
    /// The row, if it was found.
    #[must_use]
    pub fn into_row(self) -> Option<M> {
        match self {
            Self::Found { row, .. } => Some(row),
            _ => None,
        }
    }
}

type OriginSql = (
    Text,
    Nullable<BigInt>,
    Nullable<Uuid>,
    Nullable<Timestamptz>,
    Array<Text>,
);

/// What an as-of query selects.
pub type AsOfSql<ST> = (OriginSql, DecodedSql<ST>);

impl<M> AnswerRow for AsOf<M>
where
    M: Selectable<Pg>,
    AsOfSql<<M::SelectExpression as Expression>::SqlType>: TypedExpressionType,
{
    type Sql = AsOfSql<<M::SelectExpression as Expression>::SqlType>;
}

impl<M> Selectable<Pg> for AsOf<M>
where
    M: Audited + Selectable<Pg>,
    Self: AnswerRow,
{
    type SelectExpression = Answer<Self>;

    fn construct_selection() -> Self::SelectExpression {
        Answer::new()
    }
}

type OriginRow = (
    String,
    Option<i64>,
    Option<uuid::Uuid>,
    Option<DateTime<Utc>>,
    Vec<String>,
);

impl<M, ST> Queryable<AsOfSql<ST>, Pg> for AsOf<M>
where
    (OriginRow, Decoded<M>): FromStaticSqlRow<AsOfSql<ST>, Pg>,
{
    type Row = (OriginRow, Decoded<M>);

    fn build((origin, decoded): Self::Row) -> deserialize::Result<Self> {
        let (outcome, change_id, transaction_id, captured_at, redacted) = origin;
        let origin = match (change_id, transaction_id, captured_at) {
            (Some(change_id), Some(transaction_id), Some(captured_at)) => Some(Origin {
                change_id,
                transaction_id,
                captured_at,
            }),
            _ => None,
        };
        Ok(match (outcome.as_str(), origin, decoded.0) {
            ("found", Some(origin), Ok(Some(row))) => Self::Found {
                row,
                origin,
                redacted,
            },
            ("found", Some(origin), Err(problem)) => Self::Undecodable { problem, origin },
            ("deleted", Some(origin), _) => Self::Deleted(origin),
            ("not_yet_created", ..) => Self::NotYetCreated,
            ("unknown", ..) => Self::Unknown,
            (outcome, ..) => {
                return Err(format!("threadline_as_of answered {outcome} without a change").into());
            }
        })
    }
}
