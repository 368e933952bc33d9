//! What is reverted.

use std::fmt;

use uuid::Uuid;

/// The name of the action that a revert records.
pub const REVERT_ACTION: &str = "threadline.revert";

/// What is reverted. It displays as the action of a revert names it in its reason, so that reverts are found by it.
///
/// # Examples
///
/// ```
/// use diesel::prelude::*;
/// use threadline::schema::audit_actions;
/// use threadline::{REVERT_ACTION, RevertSubject};
///
/// let subject = RevertSubject::Transaction(uuid::Uuid::nil());
/// let reverts = audit_actions::table
///     .filter(audit_actions::name.eq(REVERT_ACTION))
///     .filter(audit_actions::reason.eq(subject.to_string()));
/// assert_eq!(subject.to_string(), "transaction 00000000-0000-0000-0000-000000000000");
/// # let _ = reverts;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevertSubject {
    /// Every change of a database transaction.
    Transaction(Uuid),
    /// One change, by `audit_changes.id`.
    Change(i64),
}

impl fmt::Display for RevertSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transaction(id) => write!(f, "transaction {id}"),
            Self::Change(id) => write!(f, "change {id}"),
        }
    }
}
