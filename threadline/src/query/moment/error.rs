use crate::capture::PlanError;

/// Why a query can't be asked as of a moment. It reaches the caller as Diesel's
/// [`QueryBuilderError`](diesel::result::Error::QueryBuilderError), before anything is sent.
///
/// What only the server knows, such as a table that isn't audited, is its error, with the table and the next step in the
/// message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AsOfError {
    /// The query names its tables in a way that isn't understood, so that some could be read as they are today.
    #[error(
        "a query as of a moment can't have {found} in its FROM: {instead}; what isn't recognised would be read as it is today"
    )]
    Unrecognised {
        /// What was found.
        found: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// The text can't be read as one SELECT.
    #[error("a query as of a moment is one SELECT, and this has {found}: {instead}")]
    NotASelect {
        /// What was found.
        found: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// The query reads no table.
    #[error(
        "the query reads no table, so that it is the same as of every moment: load it as it is"
    )]
    NoTable,
    /// Columns that depend on a grouped primary key. PostgreSQL allows that for tables only, and rows as of a moment are none.
    #[error(
        "rows as of a moment can't be grouped by the primary key alone: add {} to the group_by",
        columns.join(", ")
    )]
    GroupedByKey {
        /// What is selected without being grouped by.
        columns: Vec<String>,
    },
    /// A name that PostgreSQL couldn't have.
    #[error("the query names a table that can't exist")]
    Name(#[from] PlanError),
}

impl From<AsOfError> for diesel::result::Error {
    fn from(error: AsOfError) -> Self {
        Self::QueryBuilderError(Box::new(error))
    }
}
