use thiserror::Error;

/// Why a capture plan can't be built. Each message names the table, the column and the next step.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A name that PostgreSQL can't have.
    #[error("`{name}` can't be an SQL identifier: {reason}")]
    Identifier {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A column that is both excluded and masked.
    #[error(
        "table `{table}`: column `{column}` is in both `exclude` and `mask`; keep one: `exclude` drops the column, `mask` keeps its name"
    )]
    ExcludedAndMasked {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column that is redacted and stored only when it changes.
    #[error(
        "table `{table}`: column `{column}` is redacted and in `on_change`; keep one: what is never stored has no earlier value to read"
    )]
    RedactedOnChange {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A key column that is redacted.
    #[error(
        "table `{table}`: key column `{column}` can't be in `{list}`: history finds rows by it; name another column or declare another key"
    )]
    RedactedKey {
        /// The table.
        table: String,
        /// The key column.
        column: String,
        /// `exclude`, `mask` or `on_change`.
        list: &'static str,
    },
    /// A placeholder that can't be told from data, or can't be printed.
    #[error("table `{table}`: the mask placeholder {reason}; use 1 to 200 printable characters")]
    Placeholder {
        /// The table.
        table: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A table without a key.
    #[error(
        "table `{table}` has no key: declare one with `#[audited(primary_key(column, …))]`; its columns need a unique index and NOT NULL"
    )]
    NoKey {
        /// The table.
        table: String,
    },
    /// One of Threadline's own tables.
    #[error("table `{table}` is part of the audit log and can't be audited; take it off the list")]
    OwnTable {
        /// The table.
        table: String,
    },
    /// Two plans for one table.
    #[error(
        "table `{table}` has two capture plans, of `{first}` and of `{second}`; mark one of the models `#[audited(read_only)]`"
    )]
    TwoPlans {
        /// The table.
        table: String,
        /// The model that came first.
        first: String,
        /// The model that came second.
        second: String,
    },
}
