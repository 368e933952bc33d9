//! The kinds of party that can be answerable for a change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What sort of party an [`ActorRef`](super::ActorRef) points at.
///
/// Written in snake case wherever it is stored or printed:
///
/// ```
/// use threadline::ActorKind;
///
/// assert_eq!(ActorKind::ServiceAccount.to_string(), "service_account");
/// assert_eq!("service_account".parse(), Ok(ActorKind::ServiceAccount));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ActorKind {
    /// A person who uses the application.
    User,
    /// A person who operates the application, acting with an operator's rights.
    Admin,
    /// A machine client with credentials of its own.
    ServiceAccount,
    /// A background or scheduled job.
    Job,
    /// The application itself, such as a migration or a maintenance task.
    System,
    /// Nobody that the application could identify; the only kind without an id.
    Anonymous,
}

impl ActorKind {
    const ALL: [Self; 6] = [
        Self::User,
        Self::Admin,
        Self::ServiceAccount,
        Self::Job,
        Self::System,
        Self::Anonymous,
    ];

    /// The name that stands in the audit tables.
    ///
    /// ```
    /// assert_eq!(threadline::ActorKind::Job.as_str(), "job");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::ServiceAccount => "service_account",
            Self::Job => "job",
            Self::System => "system",
            Self::Anonymous => "anonymous",
        }
    }
}

impl fmt::Display for ActorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no [`ActorKind`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown actor type {0:?}: expected user, admin, service_account, job, system or anonymous"
)]
pub struct UnknownActorKind(String);

impl FromStr for ActorKind {
    type Err = UnknownActorKind;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| UnknownActorKind(name.to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_kind_agrees() {
        for kind in ActorKind::ALL {
            assert_eq!(kind.to_string(), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_known_ones() {
        for name in ["", "User", "service-account", "users"] {
            let error = name.parse::<ActorKind>().unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
            for kind in ActorKind::ALL {
                assert!(error.contains(kind.as_str()), "{error}");
            }
        }
    }

    #[test]
    fn a_kind_pads_in_columns() {
        assert_eq!(format!("{:<8}|", ActorKind::Job), "job     |");
    }
}
