//! Threadline.

pub mod audited;
pub mod capture;
pub mod definition;
#[cfg(feature = "migrations")]
mod migrations;
pub mod query;
pub mod record;
pub mod schema;

pub use audited::Audited;
pub use definition::{Definition, RequireActor};
#[cfg(feature = "migrations")]
pub use migrations::MIGRATIONS;
pub use query::change_columns as change;
pub use query::{AsOf, AuditedDsl, Change, ChangeTransaction, Op, Origin, Snapshot, recorded};
#[cfg(feature = "async")]
pub use record::asynch;
pub use record::{
    Action, ActionStatus, ActorError, ActorKind, ActorRef, AuditContext, ContextError,
    record_action, transaction, transaction_id,
};
#[cfg(feature = "derive")]
pub use threadline_derive::Audited;

/// What a module that reads history imports.
pub mod prelude {
    pub use crate::{Audited, AuditedDsl};
}
