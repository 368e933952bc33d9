//! Why a unit of work can't be attributed as asked.

use super::actor::ActorRef;

/// An [`AuditContext`](super::AuditContext) that can't be put in force.
///
/// [`transaction`](super::transaction()) reports it before it begins, through the
/// error type of the application, as a
/// [`QueryBuilderError`](diesel::result::Error::QueryBuilderError):
///
/// ```
/// use diesel::result::Error;
/// use threadline::ContextError;
///
/// fn is_bad_request(error: &Error) -> bool {
///     match error {
///         Error::QueryBuilderError(inner) => {
///             matches!(inner.downcast_ref(), Some(ContextError::TooLong { .. }))
///         }
///         _ => false,
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A text is longer than its limit.
    #[error(
        "the {field} of the audit context has {length} characters; at most {limit} are allowed"
    )]
    TooLong {
        /// The field, named as its setter on [`AuditContext`](super::AuditContext).
        field: &'static str,
        /// Its length in characters.
        length: usize,
        /// The most characters it may have.
        limit: usize,
    },
    /// A text holds a control character, such as a line break or NUL.
    #[error("the {field} of the audit context holds a control character")]
    ControlCharacter {
        /// The field, named as its setter on [`AuditContext`](super::AuditContext).
        field: &'static str,
    },
    /// The metadata is too much to be stored with every transaction.
    #[error(
        "the metadata of the audit context take {bytes} bytes as JSON; at most {limit} are allowed"
    )]
    MetadataTooLarge {
        /// Its size as JSON text.
        bytes: usize,
        /// The most bytes it may take.
        limit: usize,
    },
    /// The metadata nest arrays and objects so deeply that they couldn't be read back.
    #[error(
        "the metadata of the audit context nest more than {limit} levels deep under the key {key:?}"
    )]
    MetadataTooDeep {
        /// The outermost key that holds them.
        key: String,
        /// The most levels they may have.
        limit: usize,
    },
    /// The metadata hold a NUL character, which `jsonb` can't store.
    #[error("the metadata of the audit context hold a NUL character under the key {key:?}")]
    MetadataNul {
        /// The outermost key that holds it, or is it.
        key: String,
    },
    /// A transaction inside another one names another actor. Everything that a database
    /// transaction changes has one actor, because it commits as one.
    #[error(
        "a transaction of {outer} can't hold a nested one of {inner}: all changes of a database \
         transaction have the same actor. Commit the outer transaction first, or nest with \
         `AuditContext::unattributed()` to keep its actor"
    )]
    ActorConflict {
        /// The actor of the open transaction.
        outer: ActorRef,
        /// The actor that the nested transaction asks for.
        inner: ActorRef,
    },
    /// Code outside of this crate has put something else than its documented form into
    /// a setting of the open transaction.
    #[error("the setting {setting} of the open transaction isn't of the form {expected}")]
    MalformedSetting {
        /// The setting's name.
        setting: &'static str,
        /// An example of the form.
        expected: &'static str,
    },
}

impl From<ContextError> for diesel::result::Error {
    fn from(error: ContextError) -> Self {
        Self::QueryBuilderError(Box::new(error))
    }
}
