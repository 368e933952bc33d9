//! What stands in the log for values that are kept out of it.

use std::collections::BTreeMap;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Jsonb;
use serde::{Deserialize, Serialize};

use super::recorded_value::{RecordedRow, RecordedValue};

/// The columns of a table that are redacted or ever were, each with the placeholders that it was stored as: none for an
/// excluded column. It is `redacted` in `audit_tables`.
///
/// # Examples
///
/// ```
/// use threadline::{RecordedValue, Redactions};
///
/// let redactions: Redactions = serde_json::from_str(r#"{"ssn": ["[REDACTED]"], "pin": []}"#)?;
/// assert!(redactions.hides("ssn", &RecordedValue::from_json(r#""[REDACTED]""#)?));
/// assert!(!redactions.hides("ssn", &RecordedValue::from_json("null")?));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, FromSqlRow)]
#[serde(transparent)]
pub struct Redactions(BTreeMap<String, Vec<RecordedValue>>);

impl Redactions {
    /// Whether a recorded value of a column only stands for the real one. A value that happens to equal a placeholder of
    /// its column can't be told from it.
    #[must_use]
    pub fn hides(&self, column: &str, value: &RecordedValue) -> bool {
        self.0
            .get(column)
            .is_some_and(|placeholders| placeholders.contains(value))
    }

    /// Whether a column is redacted or ever was.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.0.contains_key(column)
    }

    /// The columns that a recorded row should have and doesn't, since they are never stored.
    pub(crate) fn excluded_from<'a>(
        &'a self,
        row: &'a RecordedRow,
    ) -> impl Iterator<Item = &'a str> {
        self.0
            .keys()
            .map(String::as_str)
            .filter(|column| !row.has(column))
    }
}

impl FromSql<Jsonb, Pg> for Redactions {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        match bytes.as_bytes() {
            [1, text @ ..] => Ok(serde_json::from_slice(text)?),
            _ => Err("unsupported JSONB encoding version".into()),
        }
    }
}
