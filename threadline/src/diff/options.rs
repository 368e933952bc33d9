//! What a diff shows beside the changed fields of an update.

/// Options of [`change_diff`](super::change_diff). By default an insert, a delete and a baseline list no fields.
///
/// # Examples
///
/// ```
/// use threadline::DiffOptions;
///
/// let everything = DiffOptions::new().expand_insert_fields().expand_delete_fields();
/// # let _ = everything;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct DiffOptions {
    pub(super) insert: bool,
    pub(super) delete: bool,
}

impl DiffOptions {
    /// The changed fields of updates alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// List every column of an inserted row, or of one that was seen by a baseline, as a field that was set.
    pub fn expand_insert_fields(self) -> Self {
        Self {
            insert: true,
            ..self
        }
    }

    /// List every column of a deleted row that the log knows as a field that was removed: from the values before, if the
    /// table keeps them, and from earlier history, if the input has it.
    pub fn expand_delete_fields(self) -> Self {
        Self {
            delete: true,
            ..self
        }
    }
}
