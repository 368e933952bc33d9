//! The party that is answerable for a change.

use std::fmt;

use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use diesel::sql_types::Jsonb;
use serde::{Deserialize, Serialize};

use super::MAX_TEXT_CHARS;
use super::actor_error::ActorError;
use super::actor_form::StoredActor;
use super::actor_kind::ActorKind;

/// Who is answerable for a change: a kind of party and its id in the application.
///
/// Stored as `{"type": "user", "id": "42"}`. Every kind but
/// [`Anonymous`](ActorKind::Anonymous) has an id, of 1 to 255 characters without
/// control characters; a value that breaks this can't be built, parsed or loaded.
///
/// It is a Diesel value of type [`Jsonb`], so it loads from an `actor_ref` column and
/// stands in filters, and a serde value of the stored form.
///
/// ```
/// use threadline::ActorRef;
///
/// let actor = ActorRef::user(42)?;
/// assert_eq!(actor.to_string(), "user:42");
/// assert_eq!("user:42".parse(), Ok(actor));
/// # Ok::<_, threadline::ActorError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, AsExpression, FromSqlRow)]
#[diesel(sql_type = Jsonb)]
#[serde(try_from = "StoredActor")]
pub struct ActorRef {
    #[serde(rename = "type")]
    kind: ActorKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl ActorRef {
    /// An actor of a kind that is known at run time only; otherwise the constructor
    /// named after the kind reads better.
    ///
    /// ```
    /// use threadline::{ActorKind, ActorRef};
    ///
    /// let kind: ActorKind = "service_account".parse()?;
    /// assert_eq!(ActorRef::new(kind, "billing")?, ActorRef::service_account("billing")?);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ActorError`] if the id is empty, longer than 255 characters or holds control
    /// characters, or if the kind is [`Anonymous`](ActorKind::Anonymous), which has none.
    pub fn new(kind: ActorKind, id: impl fmt::Display) -> Result<Self, ActorError> {
        Self::checked(kind, Some(id.to_string()))
    }

    /// A person who uses the application.
    ///
    /// ```
    /// let actor = threadline::ActorRef::user("42")?;
    /// assert_eq!(actor.id(), Some("42"));
    /// # Ok::<_, threadline::ActorError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ActorError`] if the id is empty, longer than 255 characters or holds control
    /// characters.
    pub fn user(id: impl fmt::Display) -> Result<Self, ActorError> {
        Self::new(ActorKind::User, id)
    }

    /// A person who operates the application.
    ///
    /// ```
    /// let actor = threadline::ActorRef::admin("ops-3")?;
    /// assert_eq!(actor.to_string(), "admin:ops-3");
    /// # Ok::<_, threadline::ActorError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`user`](Self::user).
    pub fn admin(id: impl fmt::Display) -> Result<Self, ActorError> {
        Self::new(ActorKind::Admin, id)
    }

    /// A machine client with credentials of its own.
    ///
    /// ```
    /// let actor = threadline::ActorRef::service_account("billing-api")?;
    /// assert_eq!(actor.to_string(), "service_account:billing-api");
    /// # Ok::<_, threadline::ActorError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`user`](Self::user).
    pub fn service_account(id: impl fmt::Display) -> Result<Self, ActorError> {
        Self::new(ActorKind::ServiceAccount, id)
    }

    /// A background or scheduled job. The id names the job; a single run of it belongs
    /// into [`AuditContext::job_id`](super::AuditContext::job_id).
    ///
    /// ```
    /// let actor = threadline::ActorRef::job("nightly-invoices")?;
    /// assert_eq!(actor.to_string(), "job:nightly-invoices");
    /// # Ok::<_, threadline::ActorError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`user`](Self::user).
    pub fn job(id: impl fmt::Display) -> Result<Self, ActorError> {
        Self::new(ActorKind::Job, id)
    }

    /// A part of the application that acts on nobody's behalf.
    ///
    /// ```
    /// let actor = threadline::ActorRef::system("schema-migration")?;
    /// assert_eq!(actor.to_string(), "system:schema-migration");
    /// # Ok::<_, threadline::ActorError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`user`](Self::user).
    pub fn system(id: impl fmt::Display) -> Result<Self, ActorError> {
        Self::new(ActorKind::System, id)
    }

    /// Nobody that the application could identify: a statement about the writer,
    /// unlike the absence of an actor, which says that nobody was asked.
    ///
    /// ```
    /// let actor = threadline::ActorRef::anonymous();
    /// assert_eq!(actor.id(), None);
    /// ```
    #[must_use]
    pub const fn anonymous() -> Self {
        Self {
            kind: ActorKind::Anonymous,
            id: None,
        }
    }

    /// The kind of party.
    ///
    /// ```
    /// use threadline::{ActorKind, ActorRef};
    ///
    /// assert_eq!(ActorRef::anonymous().kind(), ActorKind::Anonymous);
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ActorKind {
        self.kind
    }

    /// The id in the application; `None` for an anonymous actor and no other.
    ///
    /// ```
    /// assert_eq!(threadline::ActorRef::user(7)?.id(), Some("7"));
    /// # Ok::<_, threadline::ActorError>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(super) fn checked(kind: ActorKind, id: Option<String>) -> Result<Self, ActorError> {
        match (kind, id) {
            (ActorKind::Anonymous, None) => Ok(Self::anonymous()),
            (ActorKind::Anonymous, Some(_)) => Err(ActorError::UnexpectedId),
            (kind, None) => Err(ActorError::MissingId { kind }),
            (kind, Some(id)) if id.is_empty() => Err(ActorError::MissingId { kind }),
            (kind, Some(id)) => match id.chars().count() {
                length if length > MAX_TEXT_CHARS => Err(ActorError::IdTooLong { kind, length }),
                _ if id.chars().any(char::is_control) => Err(ActorError::ControlCharacter { kind }),
                _ => Ok(Self { kind, id: Some(id) }),
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_required_bounded_and_printable() {
        let kind = ActorKind::User;
        assert_eq!(ActorRef::user(""), Err(ActorError::MissingId { kind }));
        assert_eq!(
            ActorRef::user("ä".repeat(256)),
            Err(ActorError::IdTooLong { kind, length: 256 })
        );
        assert!(ActorRef::user("ä".repeat(255)).is_ok());
        for id in ["a\0", "a\nb", "\u{85}"] {
            assert_eq!(
                ActorRef::user(id),
                Err(ActorError::ControlCharacter { kind })
            );
        }
    }

    #[test]
    fn only_an_anonymous_actor_is_without_an_id() {
        let anonymous = ActorKind::Anonymous;
        assert_eq!(ActorRef::new(anonymous, "7"), Err(ActorError::UnexpectedId));
        assert_eq!(ActorRef::new(anonymous, ""), Err(ActorError::UnexpectedId));
        let kind = ActorKind::Job;
        assert_eq!(
            "job".parse::<ActorRef>(),
            Err(ActorError::MissingId { kind })
        );
        assert_eq!(
            "job:".parse::<ActorRef>(),
            Err(ActorError::MissingId { kind })
        );
        assert_eq!(
            "anonymous:7".parse::<ActorRef>(),
            Err(ActorError::UnexpectedId)
        );
    }

    #[test]
    fn no_message_repeats_the_id() {
        let long = "secret".repeat(50);
        for id in [long.as_str(), "secret\n"] {
            let message = ActorRef::user(id).unwrap_err().to_string();
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
