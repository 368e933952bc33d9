//! What stands in the way of a revert.

use std::fmt;

use crate::query::RecordedRow;

/// What stands in the way of reverting one row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Conflict {
    /// The table, as `schema.name`.
    pub table: String,
    /// The row's key: every key column as text. Empty where it is about the table.
    pub key: RecordedRow,
    /// The columns that it is about.
    pub columns: Vec<String>,
    /// What it is.
    pub kind: ConflictKind,
    pub(super) may_force: bool,
}

/// What stands in the way, and what [`Decision::Force`] does about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConflictKind {
    /// The row has changed since, in these columns. Force: revert all the same. An updated row gets only the columns back
    /// that are reverted; an inserted one is deleted with what was changed later.
    ChangedSince,
    /// The row has been deleted since. It can only be skipped.
    Gone,
    /// Another row holds a unique key that this one had. It can only be skipped.
    KeyTaken {
        /// The unique index or the exclusion constraint; `None` if a row lives under this one's own key.
        constraint: Option<String>,
        /// The key of the row that holds it. Empty in a scope, unless the plan writes that row too.
        holder: RecordedRow,
    },
    /// The values before are redacted. Force: leave these columns as they are, or to their defaults in a row that comes back.
    /// Not where a column is NOT NULL and has none. A change of an excluded column alone leaves no trace, so an update that
    /// is reverted leaves such columns alone and says nothing of it.
    Redacted,
    /// The log doesn't have the values before: the table doesn't keep them and the log doesn't reach back, or they were too
    /// large. Force as for [`Redacted`](Self::Redacted).
    NotRecorded,
    /// The table has no such columns any more. Force: leave them out.
    NoSuchColumn,
    /// The row that a foreign key names is gone. It can only be skipped.
    MissingParent {
        /// The foreign key.
        constraint: String,
        /// The table that it names.
        parent: String,
    },
    /// Rows that came later refer to a row that would go. It can only be skipped.
    StillReferenced {
        /// The foreign key.
        constraint: String,
        /// The table that refers.
        child: String,
        /// How many rows refer.
        rows: usize,
    },
    /// Rows depend on each other in a circle that no order of statements respects. It can only be skipped.
    Cycle,
    /// The table was truncated, and the log doesn't know all the rows that it had: it begins later, or was interrupted. Skip:
    /// put back those that it knows.
    Truncated,
    /// The table is gone. It can only be skipped.
    TableGone,
    /// The table is not captured any more, and the log would not show the revert. It can only be skipped.
    NotCaptured,
}

/// What to do about a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Decision {
    /// Leave the row as it is.
    Skip,
    /// Go on in spite of it, as [`ConflictKind`] says.
    Force,
}

impl Conflict {
    /// Whether [`Decision::Force`] is open. [`Decision::Skip`] always is.
    #[must_use]
    pub fn may_force(&self) -> bool {
        self.may_force
    }

    /// The row, by its table and its key.
    pub(super) fn row(&self) -> (&str, &RecordedRow) {
        (&self.table, &self.key)
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table)?;
        for (index, (column, value)) in self.key.iter().enumerate() {
            let separator = if index == 0 { " " } else { ", " };
            write!(f, "{separator}{column} = {value}")?;
        }
        let columns = self.columns.join(", ");
        match &self.kind {
            ConflictKind::ChangedSince => write!(f, ": changed since ({columns})"),
            ConflictKind::Gone => f.write_str(": deleted since"),
            ConflictKind::KeyTaken {
                constraint: None, ..
            } => write!(f, ": another row lives under its key ({columns})"),
            ConflictKind::KeyTaken {
                constraint: Some(constraint),
                holder,
            } if holder.is_empty() => {
                write!(
                    f,
                    ": the key {constraint} ({columns}) is taken by another row"
                )
            }
            ConflictKind::KeyTaken {
                constraint: Some(constraint),
                holder,
            } => write!(
                f,
                ": the key {constraint} ({columns}) is taken by the row {holder:?}"
            ),
            ConflictKind::Redacted => {
                write!(f, ": the redacted values of {columns} can't be restored")
            }
            ConflictKind::NotRecorded => {
                write!(f, ": the log doesn't have the values before of {columns}")
            }
            ConflictKind::NoSuchColumn => write!(f, ": the table has no column {columns} any more"),
            ConflictKind::MissingParent { constraint, parent } => write!(
                f,
                ": the row of {parent} that {constraint} ({columns}) names is gone"
            ),
            ConflictKind::StillReferenced {
                constraint,
                child,
                rows,
            } => write!(
                f,
                ": {rows} later rows of {child} refer to it by {constraint} ({columns})"
            ),
            ConflictKind::Cycle => f.write_str(": no order of statements respects all keys"),
            ConflictKind::Truncated => {
                f.write_str(": truncated, and the log doesn't know all its rows")
            }
            ConflictKind::TableGone => f.write_str(": the table is gone"),
            ConflictKind::NotCaptured => f.write_str(": the table is not captured any more"),
        }
    }
}
