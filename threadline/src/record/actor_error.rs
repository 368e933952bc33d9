//! Why an actor can't be.

use super::MAX_TEXT_CHARS;
use super::actor_kind::{ActorKind, UnknownActorKind};

/// An [`ActorRef`](super::ActorRef) that can't be: it says what is wrong with the kind or the id.
///
/// No message repeats an id, which may be the personal data of whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActorError {
    /// The kind needs an id, and there was none or an empty one.
    #[error(
        "an actor of type {kind} needs an id that is not empty; \
         use the anonymous actor for a party that can't be identified"
    )]
    MissingId {
        /// The kind that was asked for.
        kind: ActorKind,
    },
    /// An anonymous actor came with an id.
    #[error("an anonymous actor has no id; name the kind of party that the id belongs to")]
    UnexpectedId,
    /// The id is longer than the limit of 255 characters.
    #[error("the id of the {kind} has {length} characters; at most {MAX_TEXT_CHARS} are allowed")]
    IdTooLong {
        /// The kind that was asked for.
        kind: ActorKind,
        /// The id's length in characters.
        length: usize,
    },
    /// The id holds a control character, such as a line break or NUL.
    #[error("the id of the {kind} holds a control character")]
    ControlCharacter {
        /// The kind that was asked for.
        kind: ActorKind,
    },
    /// The text before the colon, or all of it, names no kind.
    #[error(transparent)]
    UnknownKind(#[from] UnknownActorKind),
}
