//! How an action turned out.

use std::fmt;
use std::str::FromStr;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;
use serde::{Deserialize, Serialize};

/// How an [`Action`](super::Action) turned out. A Diesel value of type [`Text`].
///
/// ```
/// use threadline::ActionStatus;
///
/// assert_eq!(ActionStatus::Error.to_string(), "error");
/// assert_eq!("ok".parse(), Ok(ActionStatus::Ok));
/// ```
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Serialize,
    Deserialize,
    AsExpression,
    FromSqlRow,
)]
#[diesel(sql_type = Text)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActionStatus {
    /// It was done.
    #[default]
    Ok,
    /// It was attempted and failed, or was refused.
    Error,
}

impl ActionStatus {
    /// The name that stands in the audit tables.
    ///
    /// ```
    /// assert_eq!(threadline::ActionStatus::Ok.as_str(), "ok");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for ActionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no [`ActionStatus`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown action status {0:?}: expected ok or error")]
pub struct UnknownActionStatus(String);

impl FromStr for ActionStatus {
    type Err = UnknownActionStatus;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "ok" => Ok(Self::Ok),
            "error" => Ok(Self::Error),
            _ => Err(UnknownActionStatus(name.to_owned())),
        }
    }
}

impl ToSql<Text, Pg> for ActionStatus {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <str as ToSql<Text, Pg>>::to_sql(self.as_str(), out)
    }
}

impl FromSql<Text, Pg> for ActionStatus {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let name = <String as FromSql<Text, Pg>>::from_sql(value)?;
        Ok(name.parse()?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_status_agrees() {
        for status in [ActionStatus::Ok, ActionStatus::Error] {
            assert_eq!(status.to_string().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert_eq!(
            "failed".parse::<ActionStatus>().unwrap_err().to_string(),
            "unknown action status \"failed\": expected ok or error"
        );
    }
}
