//! Rows of the log, untyped: what lists and bundles are made of.

mod action;
mod change;
mod transaction;

pub(super) use action::ACTION;
pub use action::{ActionRecord, AuditAction};
pub(super) use change::CHANGE;
pub use change::{AuditChange, ChangeRecord};
pub(super) use transaction::TRANSACTION;
pub use transaction::{
    AuditTransaction, ChangeCount, CountRecord, SummaryRecord, TransactionRecord,
    TransactionSummary,
};
