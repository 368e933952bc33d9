//! What a diff is made of.

use crate::query::{Change, Op, RecordedRow, Redactions};

/// What was recorded of one change: the input of [`change_diff`](super::change_diff).
///
/// A [`Change`] and a [`RecordedChange`](super::RecordedChange) give it by `into()`. Whoever reads `audit_changes` with a
/// query of their own fills it in.
///
/// # Examples
///
/// ```
/// use threadline::{DiffInput, DiffOptions, FieldValue, Op, RecordedRow, Redactions, change_diff};
///
/// let (before, after): (RecordedRow, RecordedRow) = (
///     serde_json::from_str(r#"{"price": 1.10}"#)?,
///     serde_json::from_str(r#"{"id": 7, "price": 1.20, "name": "nut"}"#)?,
/// );
/// let redactions = Redactions::default();
/// let fields = ["price".to_owned()];
/// let input = DiffInput {
///     changed_fields: Some(&fields),
///     before: Some(&before),
///     after: Some(&after),
///     ..DiffInput::new(Op::Update, &redactions)
/// };
/// let diff = change_diff(input, DiffOptions::new());
/// assert_eq!(diff.fields.len(), 1);
/// assert_eq!(diff.fields[0].before.recorded().map(|v| v.as_json()), Some("1.10"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct DiffInput<'a> {
    /// What happened.
    pub op: Op,
    /// `changed_fields`.
    pub changed_fields: Option<&'a [String]>,
    /// `changed_from`: values before, if the table keeps them.
    pub before: Option<&'a RecordedRow>,
    /// `data_after`, or the changed columns of it.
    pub after: Option<&'a RecordedRow>,
    /// The row before the change as earlier changes left it, if that was asked for.
    pub earlier: Option<&'a RecordedRow>,
    /// `redacted` of the table.
    pub redactions: &'a Redactions,
}

impl<'a> DiffInput<'a> {
    /// A change of which nothing else is known.
    #[must_use]
    pub fn new(op: Op, redactions: &'a Redactions) -> Self {
        Self {
            op,
            changed_fields: None,
            before: None,
            after: None,
            earlier: None,
            redactions,
        }
    }
}

impl<'a, M> From<&'a Change<M>> for DiffInput<'a> {
    fn from(change: &'a Change<M>) -> Self {
        Self {
            op: change.op,
            changed_fields: change.changed_fields.as_deref(),
            before: change.changed_from.as_ref(),
            after: change.changed_to.as_ref(),
            earlier: None,
            redactions: &change.redactions,
        }
    }
}
