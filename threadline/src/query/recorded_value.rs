//! Recorded values by column, digit by digit.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::Index;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Jsonb;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// The JSON of an SQL NULL, and of a column that a row lacks.
static NULL: RecordedValue = RecordedValue(String::new());

/// One value as the log has it: JSON text as PostgreSQL writes it, with every digit of a number.
///
/// A [`serde_json::Value`] reads numbers as `f64` unless its feature `arbitrary_precision` is on, which a library can't
/// turn on for its users; `120.00` would become `120.0`. So the text is kept. Two values are equal if their texts are.
///
/// # Examples
///
/// ```
/// use threadline::RecordedValue;
///
/// let price = RecordedValue::from_json("120.00")?;
/// assert_eq!(price.as_json(), "120.00");
/// assert_eq!(price.decode::<f64>()?, 120.0);
/// let name = RecordedValue::from_json(r#""Ann""#)?;
/// assert_eq!(name.as_str().as_deref(), Some("Ann"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
// Empty for null, so that a null can be a constant.
pub struct RecordedValue(String);

impl RecordedValue {
    /// Takes JSON text as it is.
    ///
    /// # Errors
    ///
    /// If the text is no JSON.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        Ok(Self::from_raw(serde_json::from_str::<&RawValue>(text)?))
    }

    fn from_raw(raw: &RawValue) -> Self {
        match raw.get() {
            "null" => NULL.clone(),
            text => Self(text.to_owned()),
        }
    }

    /// The JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        if self.0.is_empty() { "null" } else { &self.0 }
    }

    /// Whether it was NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of a JSON string; `None` for anything else.
    #[must_use]
    pub fn as_str(&self) -> Option<String> {
        if self.0.starts_with('"') {
            self.decode().ok()
        } else {
            None
        }
    }

    /// The value with numbers as `serde_json` reads them. A value with a number beyond `f64` is a string of its JSON text.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.decode()
            .unwrap_or_else(|_| Value::from(self.as_json()))
    }

    /// Reads the value as a Rust type.
    ///
    /// Types that parse decimals, such as `BigDecimal`, get every digit from the text: `value.as_json().parse()`.
    ///
    /// # Errors
    ///
    /// If the value isn't one of the type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_json())
    }

    /// The member of a JSON object.
    pub(crate) fn member(&self, name: &str) -> Option<Self> {
        let mut members: BTreeMap<String, Self> = self.decode().ok()?;
        members.remove(name)
    }
}

impl fmt::Debug for RecordedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

/// The JSON text.
impl fmt::Display for RecordedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

/// With `serde_json`, the text as it is. Other formats don't know raw JSON: give them [`to_value`](Self::to_value).
impl Serialize for RecordedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(self.as_json())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RecordedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Boxed, because text that is read from a stream can't be borrowed.
        Ok(Self::from_raw(&Box::<RawValue>::deserialize(deserializer)?))
    }
}

/// Recorded values by column, as `changed_from` has them.
///
/// # Examples
///
/// ```
/// use threadline::RecordedRow;
///
/// let row: RecordedRow = serde_json::from_str(r#"{"id": 7, "price": 120.00}"#)?;
/// assert_eq!(row["price"].as_json(), "120.00");
/// assert!(row["missing"].is_null());
/// assert!(row.get("missing").is_none());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, FromSqlRow)]
#[serde(transparent)]
pub struct RecordedRow(BTreeMap<String, RecordedValue>);

impl RecordedRow {
    /// The value of a column; `None` if the log has none for it.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&RecordedValue> {
        self.0.get(column)
    }

    /// Whether the log has a value for a column, NULL included.
    #[must_use]
    pub fn has(&self, column: &str) -> bool {
        self.0.contains_key(column)
    }

    /// The columns and their values, in the order of the columns' names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RecordedValue)> {
        self.into_iter()
    }

    /// The columns' names, in order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How many columns it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no column.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As one JSON object, with numbers as `serde_json` reads them.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let members = self.iter().map(|(name, value)| (name, value.to_value()));
        members.collect()
    }
}

/// The value of a column, and null if there is none, as `serde_json` does it.
impl Index<&str> for RecordedRow {
    type Output = RecordedValue;

    fn index(&self, column: &str) -> &RecordedValue {
        self.get(column).unwrap_or(&NULL)
    }
}

impl fmt::Debug for RecordedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromIterator<(String, RecordedValue)> for RecordedRow {
    fn from_iter<I: IntoIterator<Item = (String, RecordedValue)>>(columns: I) -> Self {
        Self(columns.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a RecordedRow {
    type Item = (&'a str, &'a RecordedValue);
    type IntoIter = std::iter::Map<
        btree_map::Iter<'a, String, RecordedValue>,
        fn((&'a String, &'a RecordedValue)) -> (&'a str, &'a RecordedValue),
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl FromSql<Jsonb, Pg> for RecordedRow {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        match bytes.as_bytes() {
            [1, text @ ..] => Ok(serde_json::from_slice(text)?),
            _ => Err("unsupported JSONB encoding version".into()),
        }
    }
}
