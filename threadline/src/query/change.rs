//! One change of a row, typed.

use std::error::Error;

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSqlRow, FromStaticSqlRow, Queryable};
use diesel::pg::Pg;
use diesel::result::UnexpectedNullError;
use diesel::row::{Field, Row};
use diesel::sql_types::{Array, Bool, Nullable, Text};
use serde::Serialize;
use uuid::Uuid;

use super::Op;
use super::columns::{ChangeSql, TransactionSql};
use super::decode_error::DecodeError;
use super::recorded_value::RecordedRow;
use super::redactions::Redactions;
use crate::record::ActorRef;

/// One captured change of a row of `M`, with the transaction that it was part of.
///
/// | operation | `snapshot` | `changed_fields` | `changed_from` | `changed_to` |
/// |---|---|---|---|---|
/// | insert | the row after | `None` | `None` | the row after |
/// | update | the row after | the columns that changed, sorted | their values before, if the table keeps them | their values after |
/// | delete | the last known row | `None` | the row before, if the table keeps it | `None` |
/// | truncate | absent | `None` | `None` | `None` |
/// | baseline | the row as it was seen | `None` | `None` | the row as it was seen |
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Change<M> {
    /// Orders the changes of one row. It doesn't stand for the order of commits.
    pub id: i64,
    /// The database transaction.
    pub transaction_id: Uuid,
    /// What happened.
    pub op: Op,
    /// The columns that changed.
    pub changed_fields: Option<Vec<String>>,
    /// Values before the change, by column, with every digit.
    pub changed_from: Option<RecordedRow>,
    /// Values after the change, by column, with every digit.
    pub changed_to: Option<RecordedRow>,
    /// What stands for redacted values in both.
    pub redactions: Redactions,
    /// When the row was written, by the server's clock.
    pub captured_at: DateTime<Utc>,
    /// Columns whose value the capture policy keeps out of the log.
    pub redacted: Vec<String>,
    /// Columns whose value was too large for the log.
    pub omitted: Vec<String>,
    /// Who and why; `None` if the log has lost the transaction.
    pub transaction: Option<ChangeTransaction>,
    /// The row.
    pub snapshot: Snapshot<M>,
}

/// The transaction of a change: who and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ChangeTransaction {
    /// When the transaction's first change was captured.
    pub occurred_at: DateTime<Utc>,
    /// Who wrote.
    pub actor: Option<ActorRef>,
    /// The first action recorded in the transaction.
    pub action_id: Option<Uuid>,
    /// What wrote, such as the name of a service.
    pub source: Option<String>,
    /// The request that it served.
    pub request_id: Option<String>,
    /// What ties it to other transactions.
    pub correlation_id: Option<String>,
    /// The job that it was part of.
    pub job_id: Option<String>,
}

/// A row as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Snapshot<M> {
    /// The row as the change left it.
    After(M),
    /// The row that a delete took away, as last known.
    Before(M),
    /// The log has no row here.
    Absent,
    /// The recorded row doesn't fit the table or the model any more.
    Undecodable(DecodeError),
}

impl<M> Change<M> {
    /// The row after the change; `None` once it is gone.
    #[must_use]
    pub fn after(&self) -> Option<&M> {
        match &self.snapshot {
            Snapshot::After(row) => Some(row),
            _ => None,
        }
    }

    /// The row that a delete took away.
    #[must_use]
    pub fn deleted(&self) -> Option<&M> {
        match &self.snapshot {
            Snapshot::Before(row) => Some(row),
            _ => None,
        }
    }

    /// Who wrote, if it is known.
    #[must_use]
    pub fn actor(&self) -> Option<&ActorRef> {
        self.transaction.as_ref()?.actor.as_ref()
    }
}

/// A decoded row with what is known of decoding it: `problem`, whether there is a row at all, the NOT NULL columns that
/// have no value, the row.
#[allow(unreachable_pub)]
pub type DecodedSql<ST> = (Nullable<Text>, Bool, Array<Text>, ST);

/// Where the row begins in it.
const ROW: usize = 3;

/// The row of a [`DecodedSql`]; `Ok(None)` where the log has none.
#[derive(Debug)]
pub struct Decoded<M>(pub(super) Result<Option<M>, DecodeError>);

impl<M, ST> FromStaticSqlRow<DecodedSql<ST>, Pg> for Decoded<M>
where
    M: FromSqlRow<ST, Pg>,
{
    fn build_from_row<'a>(row: &impl Row<'a, Pg>) -> deserialize::Result<Self> {
        let problem = <Option<String> as FromSqlRow<Nullable<Text>, Pg>>::build_from_row(
            &row.partial_row(0..1),
        )?;
        let present = <bool as FromSqlRow<Bool, Pg>>::build_from_row(&row.partial_row(1..2))?;
        Ok(Self(match problem {
            Some(problem) => Err(DecodeError::Value { problem }),
            None if !present => Ok(None),
            // A row that doesn't fit the model must not take the others of the query with it.
            None => match M::build_from_row(&row.partial_row(ROW..row.field_count())) {
                Ok(model) => Ok(Some(model)),
                Err(error) => Err(misfit(row, &*error)?),
            },
        }))
    }
}

/// Why a row doesn't fit the model. Diesel names the column unless the trouble is a NULL.
fn misfit<'a>(
    row: &impl Row<'a, Pg>,
    error: &(dyn Error + 'static),
) -> deserialize::Result<DecodeError> {
    if !error.is::<UnexpectedNullError>() {
        let problem = error.to_string();
        return Ok(DecodeError::Model { problem });
    }
    let absent = <Vec<String> as FromSqlRow<Array<Text>, Pg>>::build_from_row(
        &row.partial_row(ROW - 1..ROW),
    )?;
    let nulls: Vec<_> = (ROW..row.field_count())
        .filter_map(|index| row.get(index))
        .filter(Field::is_null)
        .filter_map(|field| field.field_name().map(str::to_owned))
        .collect();
    // The table says which of them can't be NULL. Where it allows them all, the model is stricter than the table.
    let (needed, allowed): (Vec<_>, Vec<_>) =
        nulls.into_iter().partition(|name| absent.contains(name));
    let columns = if needed.is_empty() { allowed } else { needed };
    Ok(DecodeError::NoValue { columns })
}

impl<M, ST> Queryable<DecodedSql<ST>, Pg> for Decoded<M>
where
    Self: FromStaticSqlRow<DecodedSql<ST>, Pg>,
{
    type Row = Self;

    fn build(row: Self) -> deserialize::Result<Self> {
        Ok(row)
    }
}

type ChangeRow = (
    i64,
    Uuid,
    Op,
    Option<Vec<String>>,
    Option<RecordedRow>,
    Option<RecordedRow>,
    Redactions,
    DateTime<Utc>,
    Vec<String>,
    Vec<String>,
);

type TransactionRow = (
    Option<DateTime<Utc>>,
    Option<ActorRef>,
    Option<Uuid>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

impl<M, ST> Queryable<(ChangeSql, TransactionSql, DecodedSql<ST>), Pg> for Change<M>
where
    (ChangeRow, TransactionRow, Decoded<M>):
        FromStaticSqlRow<(ChangeSql, TransactionSql, DecodedSql<ST>), Pg>,
{
    type Row = (ChangeRow, TransactionRow, Decoded<M>);

    fn build((change, transaction, decoded): Self::Row) -> deserialize::Result<Self> {
        let (
            id,
            transaction_id,
            op,
            changed_fields,
            changed_from,
            changed_to,
            redactions,
            captured_at,
            redacted,
            omitted,
        ) = change;
        let (occurred_at, actor, action_id, source, request_id, correlation_id, job_id) =
            transaction;
        Ok(Self {
            id,
            transaction_id,
            op,
            changed_fields,
            changed_from,
            changed_to,
            redactions,
            captured_at,
            redacted,
            omitted,
            transaction: occurred_at.map(|occurred_at| ChangeTransaction {
                occurred_at,
                actor,
                action_id,
                source,
                request_id,
                correlation_id,
                job_id,
            }),
            snapshot: match decoded.0 {
                Err(problem) => Snapshot::Undecodable(problem),
                Ok(None) => Snapshot::Absent,
                Ok(Some(row)) if op == Op::Delete => Snapshot::Before(row),
                Ok(Some(row)) => Snapshot::After(row),
            },
        })
    }
}
