//! The forms in which an actor is printed and stored, each checked on the way back.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use diesel::deserialize::{self, FromSql};
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::Jsonb;
use serde::Deserialize;

use super::actor::ActorRef;
use super::actor_error::ActorError;
use super::actor_kind::ActorKind;

/// The stored form before its rules were checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredActor {
    #[serde(rename = "type")]
    kind: ActorKind,
    id: Option<String>,
}

impl TryFrom<StoredActor> for ActorRef {
    type Error = ActorError;

    fn try_from(StoredActor { kind, id }: StoredActor) -> Result<Self, Self::Error> {
        Self::checked(kind, id)
    }
}

impl fmt::Display for ActorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            Some(id) => write!(f, "{}:{id}", self.kind()),
            None => self.kind().fmt(f),
        }
    }
}

/// Reads what [`Display`](fmt::Display) writes: `user:42`, or `anonymous`. The id may
/// itself hold colons.
impl FromStr for ActorRef {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((kind, id)) => Self::checked(kind.parse()?, Some(id.to_owned())),
            None => Self::checked(text.parse()?, None),
        }
    }
}

impl ToSql<Jsonb, Pg> for ActorRef {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        /// Precedes the text of a `jsonb` value on the wire.
        const JSONB_VERSION: u8 = 1;
        out.write_all(&[JSONB_VERSION])?;
        serde_json::to_writer(out, self)?;
        Ok(IsNull::No)
    }
}

impl FromSql<Jsonb, Pg> for ActorRef {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let stored = <serde_json::Value as FromSql<Jsonb, Pg>>::from_sql(value)?;
        Ok(serde_json::from_value(stored)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::MAX_TEXT_CHARS;

    #[test]
    fn the_stored_form_is_that_of_the_contract() {
        let stored = |actor| serde_json::to_value::<ActorRef>(actor).unwrap();
        assert_eq!(
            stored(ActorRef::service_account("billing").unwrap()),
            json!({"type": "service_account", "id": "billing"})
        );
        assert_eq!(stored(ActorRef::anonymous()), json!({"type": "anonymous"}));
    }

    #[test]
    fn stored_and_printed_forms_read_back() {
        for actor in [
            ActorRef::user("tenant:7:ä\"'\\").unwrap(),
            ActorRef::admin(1).unwrap(),
            ActorRef::job("x".repeat(MAX_TEXT_CHARS)).unwrap(),
            ActorRef::system(" ").unwrap(),
            ActorRef::anonymous(),
        ] {
            let stored = serde_json::to_value(&actor).unwrap();
            assert_eq!(serde_json::from_value::<ActorRef>(stored).unwrap(), actor);
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
    }

    #[test]
    fn a_malformed_stored_form_is_refused() {
        for stored in [
            json!({}),
            json!("user:42"),
            json!({"type": "user"}),
            json!({"type": "user", "id": null}),
            json!({"type": "user", "id": ""}),
            json!({"type": "user", "id": 42}),
            json!({"type": "robot", "id": "42"}),
            json!({"type": "user", "id": "42", "name": "Ann"}),
            json!({"type": "anonymous", "id": "42"}),
        ] {
            assert!(
                serde_json::from_value::<ActorRef>(stored.clone()).is_err(),
                "{stored}"
            );
        }
    }
}
