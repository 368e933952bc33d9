//! One field of a diff.

use crate::query::{RecordedValue, Redactions};

/// What a change did to one field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldDiff {
    /// The column, as it was called when the change was captured.
    pub column: String,
    /// What happened to it.
    pub kind: FieldKind,
    /// The value before.
    pub before: FieldValue,
    /// The value after.
    pub after: FieldValue,
}

/// What happened to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldKind {
    /// The row came with it.
    Set,
    /// It got another value.
    Changed,
    /// The row went with it.
    Removed,
}

impl FieldKind {
    /// As it is written in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// What is known of a field's value on one side of a change.
///
/// # Examples
///
/// ```
/// use threadline::{FieldValue, RecordedValue};
///
/// let value = FieldValue::Recorded(RecordedValue::from_json("12.50")?);
/// assert_eq!(value.recorded().map(RecordedValue::as_json), Some("12.50"));
/// assert_eq!(FieldValue::Redacted.recorded(), None);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldValue {
    /// The change itself recorded it.
    Recorded(RecordedValue),
    /// An earlier change recorded it.
    Reconstructed(RecordedValue),
    /// The capture policy keeps it out of the log.
    Redacted,
    /// It was too large for the log.
    TooLarge {
        /// Its size.
        bytes: u64,
        /// Its SHA-256 in hexadecimal digits, where the log has it.
        sha256: Option<String>,
    },
    /// The log has no value here: it was not recorded, or the log doesn't reach back to it.
    Omitted,
    /// There was no row.
    Absent,
}

impl FieldValue {
    /// The value, if the log has it.
    #[must_use]
    pub fn recorded(&self) -> Option<&RecordedValue> {
        match self {
            Self::Recorded(value) | Self::Reconstructed(value) => Some(value),
            _ => None,
        }
    }

    /// What is known, as it is written in JSON.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Recorded(_) => "recorded",
            Self::Reconstructed(_) => "reconstructed",
            Self::Redacted => "redacted",
            Self::TooLarge { .. } => "too_large",
            Self::Omitted => "omitted",
            Self::Absent => "absent",
        }
    }

    /// What a recorded value says: it may only stand for another one.
    pub(crate) fn read(column: &str, value: &RecordedValue, redactions: &Redactions) -> Self {
        if redactions.hides(column, value) {
            Self::Redacted
        } else {
            marked(value).unwrap_or_else(|| Self::Recorded(value.clone()))
        }
    }

    /// A recorded value as the application wrote it.
    pub(crate) fn unquoted(value: &RecordedValue) -> RecordedValue {
        match marked(value) {
            Some(Self::Recorded(own)) => own,
            _ => value.clone(),
        }
    }

    /// The same value, known from an earlier change.
    pub(super) fn reconstructed(self) -> Self {
        match self {
            Self::Recorded(value) => Self::Reconstructed(value),
            other => other,
        }
    }
}

/// What capture and reads leave in place of a value: `{"$threadline": "omitted"}`, with its size and digest if it was too
/// large, and without them if no change has it. A value of the application that could be taken for one is quoted:
/// `{"$threadline": "value", "value": …}`.
fn marked(value: &RecordedValue) -> Option<FieldValue> {
    // Looked at as text first, since most values are scalars.
    if !value.as_json().starts_with('{') || !value.as_json().contains("\"$threadline\"") {
        return None;
    }
    match value.member("$threadline")?.as_str()?.as_str() {
        "value" => return value.member("value").map(FieldValue::Recorded),
        "omitted" => {}
        _ => return None,
    }
    let bytes = value.member("bytes").and_then(|bytes| bytes.decode().ok());
    Some(match bytes {
        None => FieldValue::Omitted,
        Some(bytes) => FieldValue::TooLarge {
            bytes,
            sha256: value.member("sha256").and_then(|digest| digest.as_str()),
        },
    })
}
