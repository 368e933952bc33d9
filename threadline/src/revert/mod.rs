//! Undoing what was recorded: previewed as a plan, then applied.
//!
//! [`revert_transaction_plan`] and [`Change::revert_plan`](crate::Change::revert_plan) are queries of a [`RevertPlan`]: the
//! statements that would restore the values before, in an order that foreign and unique keys allow, and the [`Conflict`]s
//! that stand in the way. [`RevertPlan::apply`] runs it.

mod apply;
#[cfg(feature = "async")]
mod asynch;
mod conflict;
mod decide;
mod draft;
mod error;
mod order;
mod plan;
mod planning;
mod query;
mod source;
mod statement;
mod step;
mod subject;

pub use apply::Reverted;
pub use conflict::{Conflict, ConflictKind, Decision};
pub use error::{DecisionError, RevertError};
pub use plan::RevertPlan;
pub use query::{RevertPlanQuery, revert_transaction_plan};
pub use statement::Statement;
pub use step::{Step, StepKind};
pub use subject::{REVERT_ACTION, RevertSubject};
