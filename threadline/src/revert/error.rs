//! Why a revert was refused.

use thiserror::Error;

use super::conflict::Conflict;

/// Why a revert was not applied. Nothing is written then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RevertError {
    /// Conflicts that nobody decided: those of the plan, or those that have come up since it was made.
    #[error("the revert has undecided conflicts: {}. Decide each with RevertPlan::decide, and apply again", listed(.0))]
    Undecided(Vec<Conflict>),
    /// The plan was made in a scope, and was not given it again.
    #[error(
        "the plan was made in a scope, and is made again in it before it is applied: give it to RevertPlan::scope"
    )]
    NeedsScope,
    /// The plan has no statements.
    #[error("there is nothing to revert: the subject has no net change, or every row is skipped")]
    Nothing,
    /// The statements are no longer those that were previewed.
    #[error(
        "the rows have changed since the plan was made, and so has the plan: load it again and look at it"
    )]
    Stale,
    /// A statement wrote more or fewer rows than it has: a trigger or a rule of the application got in its way.
    #[error(
        "reverting {expected} rows of {table} wrote {rows}: a trigger or a rule is in its way. See RevertPlan::statements for the statement"
    )]
    Missed {
        /// The table.
        table: String,
        /// How many rows it wrote.
        rows: usize,
        /// How many it had to write.
        expected: usize,
    },
    /// The database refused.
    #[error("the database refused the revert: {0}")]
    Database(#[from] diesel::result::Error),
}

/// Why a decision was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecisionError {
    /// The plan has no such conflict.
    #[error("the plan has no such conflict: {0}. Take one of RevertPlan::conflicts")]
    Unknown(Box<Conflict>),
    /// Such a conflict can't be forced.
    #[error("{0}. This can't be forced: skip the row")]
    NotForcible(Box<Conflict>),
}

fn listed(conflicts: &[Conflict]) -> String {
    let texts: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
