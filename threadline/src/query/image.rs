//! Recorded values by column, with every digit that the log has.

use std::collections::BTreeMap;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Jsonb;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A recorded JSON object: a key, a row, or the values before a change. Its values are kept as the JSON text that the log
/// has, so that a `numeric` loses no digit.
///
/// Two images are equal if they have the same columns with the same text; `jsonb` has one text for every value.
///
/// # Examples
///
/// ```
/// let image: threadline::Image = r#"{"id": 42, "total": 0.1000000000000000000000001}"#.parse()?;
/// assert_eq!(image.get("total"), Some("0.1000000000000000000000001"));
/// assert_eq!(image.value("id"), Some(42.into()));
/// assert_eq!(image.columns().collect::<Vec<_>>(), ["id", "total"]);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, FromSqlRow, Serialize)]
#[serde(transparent)]
pub struct Image(BTreeMap<String, Box<RawValue>>);

impl Image {
    /// The JSON text of a column's value.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&str> {
        self.0.get(column).map(|value| value.get())
    }

    /// A column's value. `serde_json` reads numbers as `f64` unless its feature `arbitrary_precision` is on; a value with a
    /// number beyond `f64` is a string of its JSON text.
    #[must_use]
    pub fn value(&self, column: &str) -> Option<Value> {
        self.get(column).map(read)
    }

    /// The names of the columns, sorted.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The columns and the JSON texts of their values, sorted by column.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(column, value)| (column.as_str(), value.get()))
    }

    /// Whether there are no columns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it, each value as [`value`](Self::value) gives it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.iter()
            .map(|(column, json)| (column.to_owned(), read(json)))
            .collect()
    }
}

fn read(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| Value::from(json))
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Image {}

impl std::str::FromStr for Image {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(json).map(Self)
    }
}

impl FromSql<Jsonb, Pg> for Image {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        match bytes.as_bytes() {
            [1, text @ ..] => Ok(Self(serde_json::from_slice(text)?)),
            _ => Err("unsupported JSONB encoding version".into()),
        }
    }
}
