//! A diff as JSON.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::change_diff::ChangeDiff;
use super::field::{FieldDiff, FieldValue};

/// The version of what [`ChangeDiff::json_ready`] writes. It rises when a key changes its meaning or goes; keys may be
/// added.
pub const SCHEMA_VERSION: u32 = 1;

/// A diff that serializes as documented at [`ChangeDiff::json_ready`]. Displays as JSON text.
#[derive(Debug, Clone, Copy)]
pub struct JsonReady<'a>(&'a ChangeDiff);

impl ChangeDiff {
    /// The diff for JSON, with its keys in this order:
    ///
    /// | key | value |
    /// |---|---|
    /// | `schema_version` | [`SCHEMA_VERSION`] |
    /// | `op` | `insert`, `update`, `delete`, `truncate`, `baseline` |
    /// | `before_values` | `none`, `recorded`, `reconstructed`, `omitted`: see [`BeforeValues`](super::BeforeValues) |
    /// | `field_changes` | the fields, by the names of their columns |
    ///
    /// and of each field:
    ///
    /// | key | value |
    /// |---|---|
    /// | `name` | the column |
    /// | `kind` | `set`, `changed`, `removed` |
    /// | `before_state` | `recorded`, `reconstructed`, `redacted`, `too_large`, `omitted`, `absent` |
    /// | `before` | the value, where the state is `recorded` or `reconstructed`; `{"bytes", "sha256"}` where it is `too_large`; no such key otherwise |
    /// | `after_state`, `after` | the same after the change |
    ///
    /// Numbers have every digit. That holds for `serde_json::to_string` and `to_writer`; `serde_json::to_value` reads
    /// numbers as `f64`.
    ///
    /// # Examples
    ///
    /// ```
    /// use threadline::{DiffInput, DiffOptions, Op, RecordedRow, Redactions, change_diff};
    ///
    /// let after: RecordedRow = serde_json::from_str(r#"{"price": 1.20}"#)?;
    /// let (redactions, fields) = (Redactions::default(), ["price".to_owned()]);
    /// let input = DiffInput {
    ///     changed_fields: Some(&fields),
    ///     after: Some(&after),
    ///     ..DiffInput::new(Op::Update, &redactions)
    /// };
    /// assert_eq!(
    ///     change_diff(input, DiffOptions::new()).json_ready().to_string(),
    ///     r#"{"schema_version":1,"op":"update","before_values":"omitted","field_changes":[{"name":"price","kind":"changed","before_state":"omitted","after_state":"recorded","after":1.20}]}"#
    /// );
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn json_ready(&self) -> JsonReady<'_> {
        JsonReady(self)
    }
}

impl Serialize for JsonReady<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(diff) = self;
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("schema_version", &SCHEMA_VERSION)?;
        map.serialize_entry("op", diff.op.as_str())?;
        map.serialize_entry("before_values", diff.before_values.as_str())?;
        let fields: Vec<_> = diff.fields.iter().map(Field).collect();
        map.serialize_entry("field_changes", &fields)?;
        map.end()
    }
}

impl fmt::Display for JsonReady<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

struct Field<'a>(&'a FieldDiff);

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(field) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &field.column)?;
        map.serialize_entry("kind", field.kind.as_str())?;
        for (state, key, value) in [
            ("before_state", "before", &field.before),
            ("after_state", "after", &field.after),
        ] {
            map.serialize_entry(state, value.state())?;
            match value {
                FieldValue::Recorded(value) | FieldValue::Reconstructed(value) => {
                    map.serialize_entry(key, value)?;
                }
                FieldValue::TooLarge { bytes, sha256 } => {
                    map.serialize_entry(key, &TooLarge { bytes, sha256 })?;
                }
                FieldValue::Redacted | FieldValue::Omitted | FieldValue::Absent => {}
            }
        }
        map.end()
    }
}

#[derive(Serialize)]
struct TooLarge<'a> {
    bytes: &'a u64,
    sha256: &'a Option<String>,
}
