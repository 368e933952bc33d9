use std::fmt;
use std::io::Write as _;
use std::str::FromStr;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::Text;
use serde::Serialize;
use thiserror::Error;

/// What a change did to its row; `op` in `audit_changes`.
///
/// # Examples
///
/// ```
/// use threadline::Op;
///
/// assert_eq!("update".parse(), Ok(Op::Update));
/// assert_eq!(Op::Delete.as_str(), "delete");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, AsExpression, FromSqlRow)]
#[serde(rename_all = "snake_case")]
#[diesel(sql_type = Text)]
#[non_exhaustive]
pub enum Op {
    /// The row came to be: `data_after` has it whole.
    Insert,
    /// The row changed: `data_after` has it whole, `changed_fields` says where.
    Update,
    /// The row went: `changed_from` has it, if the table keeps the values before.
    Delete,
    /// The table was emptied, and this row with it.
    Truncate,
    /// The row was already there when the log began: `data_after` has it as it was seen.
    Baseline,
}

impl Op {
    /// As it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Truncate => "truncate",
            Self::Baseline => "baseline",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no operation; expected insert, update, delete, truncate or baseline")]
pub struct UnknownOp(String);

impl FromStr for Op {
    type Err = UnknownOp;

    fn from_str(text: &str) -> Result<Self, UnknownOp> {
        Ok(match text {
            "insert" => Self::Insert,
            "update" => Self::Update,
            "delete" => Self::Delete,
            "truncate" => Self::Truncate,
            "baseline" => Self::Baseline,
            _ => return Err(UnknownOp(text.to_owned())),
        })
    }
}

impl ToSql<Text, Pg> for Op {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.as_str().as_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<Text, Pg> for Op {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(std::str::from_utf8(value.as_bytes())?.parse()?)
    }
}
