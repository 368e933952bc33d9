//! Why a recorded row can't be read.

use thiserror::Error;

/// Why a recorded row can't be decoded as a model. It spoils that row only, never the query.
///
/// What was recorded is still there, as JSON: [`Change::changed_to`](crate::Change::changed_to) has the values that a change
/// set, and the entries of [`timeline`](crate::timeline()) have whole rows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The table couldn't hold the recorded row today: a label of an enum is gone, a type is another one, a domain has a
    /// new check.
    #[error(
        "{problem}; the column can't hold what was recorded: its type, a label of an enum or a check has changed since, or \
         the placeholder of a mask doesn't fit it. Let its type take the value, such as by ALTER TYPE ... ADD VALUE for a \
         label, or read the row as it was recorded, from the entries of timeline()"
    )]
    Value {
        /// Which column, and what PostgreSQL says of its value.
        problem: String,
    },
    /// The model needs a value where the row has none.
    #[error(
        "column {}: no value, and the model needs one; NULL was recorded, which a jsonb null is too, or nothing under \
         this name. Make the field an \
         Option, or give it #[audited(fill = ...)] for rows older than the column, or #[audited(formerly = \"...\")] for \
         a column that was renamed",
        columns.join(", ")
    )]
    NoValue {
        /// The columns without a value.
        columns: Vec<String>,
    },
    /// The table can hold the recorded row, and the model can't.
    #[error(
        "{problem}; the table can hold the value and the model can't. Give the field, and the column in table!, the \
         type that the column has in the table, with a variant for each label of an enum"
    )]
    Model {
        /// Which field, and what Diesel says of its value.
        problem: String,
    },
}
