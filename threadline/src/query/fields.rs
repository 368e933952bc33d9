//! Recorded values by column, whatever numbers are among them.

use std::collections::BTreeMap;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Jsonb;
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON object. `serde_json` refuses a document with a number beyond `f64`, which a `numeric` column may well have: such a
/// column becomes the text of its value, and the others are read as usual.
#[derive(Debug, FromSqlRow)]
pub struct Fields(pub(super) Value);

impl FromSql<Jsonb, Pg> for Fields {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        if let Ok(value) = <Value as FromSql<Jsonb, Pg>>::from_sql(bytes) {
            return Ok(Self(value));
        }
        let text = match bytes.as_bytes() {
            [1, text @ ..] => text,
            _ => return Err("unsupported JSONB encoding version".into()),
        };
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(text)?;
        let fields = fields.into_iter().map(|(name, raw)| {
            let value = serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::from(raw.get()));
            (name, value)
        });
        Ok(Self(fields.collect()))
    }
}
