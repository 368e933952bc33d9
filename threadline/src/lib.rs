//! Threadline.

pub mod audited;
pub mod capture;
pub mod definition;
pub mod record;

pub use audited::Audited;
pub use definition::{Definition, RequireActor};
#[cfg(feature = "async")]
pub use record::asynch;
pub use record::{
    Action, ActionStatus, ActorError, ActorKind, ActorRef, AuditContext, ContextError,
    record_action, transaction, transaction_id,
};
#[cfg(feature = "derive")]
pub use threadline_derive::Audited;
