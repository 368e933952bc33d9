//! Who wrote, and why: attribution of everything a unit of work changes.
//!
//! Capture happens in the database, where nobody knows the application's user.
//! This module carries that knowledge there. An [`AuditContext`] names the
//! [`ActorRef`] and the request behind a unit of work, [`transaction`] opens a
//! database transaction under it, and every change captured inside is filed with
//! it. An [`Action`] adds the semantic event: not which rows changed, but what the
//! application meant by it.
//!
//! The context travels in transaction-local settings, all of them text and empty
//! when there is nothing to say. PostgreSQL forgets them when the transaction ends,
//! so no pool and no proxy can hand them to the next one. Code that doesn't go
//! through Diesel may set them itself with `set_config(…, …, true)`:
//!
//! | setting | value |
//! |---|---|
//! | `threadline.actor_ref` | JSON such as `{"type": "user", "id": "42"}` |
//! | `threadline.source` | text |
//! | `threadline.request_id` | text |
//! | `threadline.correlation_id` | text |
//! | `threadline.job_id` | text |
//! | `threadline.meta` | a JSON object |

mod action;
mod action_status;
mod actor;
mod actor_error;
mod actor_form;
mod actor_kind;
#[cfg(feature = "async")]
pub mod asynch;
mod context;
mod context_error;
mod metadata;
mod record_action;
mod scope;
mod settings;
mod settings_query;
mod transaction;
mod transaction_id;

pub use action::Action;
pub use action_status::{ActionStatus, UnknownActionStatus};
pub use actor::ActorRef;
pub use actor_error::ActorError;
pub use actor_kind::{ActorKind, UnknownActorKind};
pub use context::AuditContext;
pub use context_error::ContextError;
pub use record_action::{RecordAction, record_action};
pub use transaction::transaction;
pub use transaction_id::{TransactionId, transaction_id};

/// The longest identifier, in characters: what a `varchar(255)` of the application holds.
const MAX_TEXT_CHARS: usize = 255;
