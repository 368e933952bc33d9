//! The transaction-local settings that carry a context to the capture functions.

use diesel::Queryable;
use serde_json::json;

use super::MAX_TEXT_CHARS;
use super::actor::ActorRef;
use super::context::AuditContext;
use super::context_error::ContextError;
use super::metadata;

const ACTOR_REF: &str = "threadline.actor_ref";
pub(super) const META: &str = "threadline.meta";

/// Every setting, in the order of the fields of [`Settings`].
pub(super) const NAMES: [&str; 6] = [
    ACTOR_REF,
    "threadline.source",
    "threadline.request_id",
    "threadline.correlation_id",
    "threadline.job_id",
    META,
];

/// The text of every setting, empty where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub(super) struct Settings {
    actor_ref: String,
    source: String,
    request_id: String,
    correlation_id: String,
    job_id: String,
    meta: String,
}

impl TryFrom<&AuditContext> for Settings {
    type Error = ContextError;

    fn try_from(context: &AuditContext) -> Result<Self, ContextError> {
        Ok(Self {
            actor_ref: context.actor().map(actor_text).unwrap_or_default(),
            source: checked_text("source", &context.source)?,
            request_id: checked_text("request_id", &context.request_id)?,
            correlation_id: checked_text("correlation_id", &context.correlation_id)?,
            job_id: checked_text("job_id", &context.job_id)?,
            meta: metadata::checked(&context.metadata)?,
        })
    }
}

impl Settings {
    /// What is in force for a nested unit of work: each field that it leaves empty is
    /// inherited, and its metadata are added to those around it.
    pub(super) fn within(self, outer: &Self) -> Result<Self, ContextError> {
        let or_outer = |own: String, outer: &String| {
            if own.is_empty() { outer.clone() } else { own }
        };
        Ok(Self {
            actor_ref: nested_actor(self.actor_ref, &outer.actor_ref)?,
            source: or_outer(self.source, &outer.source),
            request_id: or_outer(self.request_id, &outer.request_id),
            correlation_id: or_outer(self.correlation_id, &outer.correlation_id),
            job_id: or_outer(self.job_id, &outer.job_id),
            meta: metadata::nested(self.meta, &outer.meta)?,
        })
    }

    /// The values in the order of [`NAMES`].
    pub(super) fn values(&self) -> [&String; NAMES.len()] {
        [
            &self.actor_ref,
            &self.source,
            &self.request_id,
            &self.correlation_id,
            &self.job_id,
            &self.meta,
        ]
    }
}

fn actor_text(actor: &ActorRef) -> String {
    json!(actor).to_string()
}

fn checked_text(field: &'static str, text: &str) -> Result<String, ContextError> {
    let length = text.chars().count();
    if length > MAX_TEXT_CHARS {
        return Err(ContextError::TooLong {
            field,
            length,
            limit: MAX_TEXT_CHARS,
        });
    }
    if text.chars().any(char::is_control) {
        return Err(ContextError::ControlCharacter { field });
    }
    Ok(text.to_owned())
}

fn nested_actor(own: String, outer: &str) -> Result<String, ContextError> {
    if outer.is_empty() {
        return Ok(own);
    }
    if own.is_empty() {
        return Ok(outer.to_owned());
    }
    let parse = |text: &str| {
        serde_json::from_str::<ActorRef>(text).map_err(|_| ContextError::MalformedSetting {
            setting: ACTOR_REF,
            expected: r#"{"type": "user", "id": "42"}"#,
        })
    };
    let (inner, outer_actor) = (parse(&own)?, parse(outer)?);
    if inner == outer_actor {
        // The text in force stays, so that nothing has to be set when only its spelling differs.
        Ok(outer.to_owned())
    } else {
        Err(ContextError::ActorConflict {
            outer: outer_actor,
            inner,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(context: &AuditContext) -> Settings {
        Settings::try_from(context).unwrap()
    }

    fn user(id: &str) -> AuditContext {
        AuditContext::new(ActorRef::user(id).unwrap())
    }

    #[test]
    fn an_empty_context_clears_every_setting() {
        let settings = settings(&AuditContext::unattributed());
        assert_eq!(settings.values().map(String::as_str), [""; 6]);
    }

    #[test]
    fn a_text_over_its_limit_is_named() {
        let too_long = "ä".repeat(256);
        let limit = 255;
        for (context, field) in [
            (AuditContext::default().source(&too_long), "source"),
            (AuditContext::default().request_id(&too_long), "request_id"),
            (
                AuditContext::default().correlation_id(&too_long),
                "correlation_id",
            ),
            (AuditContext::default().job_id(&too_long), "job_id"),
        ] {
            let length = 256;
            assert_eq!(
                context.validate(),
                Err(ContextError::TooLong {
                    field,
                    length,
                    limit
                })
            );
        }
        let fits = AuditContext::default().source("ä".repeat(255));
        assert_eq!(fits.validate(), Ok(()));
        assert_eq!(
            AuditContext::default().job_id("1\n2").validate(),
            Err(ContextError::ControlCharacter { field: "job_id" })
        );
    }

    #[test]
    fn the_remote_address_is_a_key_of_the_metadata() {
        let context = AuditContext::default()
            .remote_address("2001:db8::1".parse::<std::net::IpAddr>().unwrap());
        assert_eq!(
            settings(&context).meta,
            r#"{"remote_address":"2001:db8::1"}"#
        );
    }

    #[test]
    fn a_nested_context_inherits_what_it_leaves_empty() {
        let outer = settings(&user("1").source("api").metadata("a", 1).metadata("b", 1));
        let inner = AuditContext::unattributed()
            .request_id("r")
            .metadata("b", 2)
            .metadata("c", 2);
        let expected = user("1")
            .source("api")
            .request_id("r")
            .metadata("a", 1)
            .metadata("b", 2)
            .metadata("c", 2);
        assert_eq!(settings(&inner).within(&outer), Ok(settings(&expected)));
    }

    #[test]
    fn a_nested_context_that_adds_nothing_changes_nothing() {
        let outer = Settings {
            actor_ref: r#"{ "type": "user", "id": "1" }"#.to_owned(),
            ..settings(&user("1").source("api").metadata("a", 1))
        };
        for inner in [
            AuditContext::unattributed(),
            user("1"),
            user("1").source("api").metadata("a", 1),
        ] {
            assert_eq!(settings(&inner).within(&outer), Ok(outer.clone()));
        }
    }

    #[test]
    fn a_nested_context_may_not_name_another_actor() {
        let error = settings(&user("2"))
            .within(&settings(&user("1")))
            .unwrap_err();
        assert!(matches!(error, ContextError::ActorConflict { .. }));
        assert_eq!(
            error.to_string(),
            "a transaction of user:1 can't hold a nested one of user:2: all changes of a database \
             transaction have the same actor. Commit the outer transaction first, or nest with \
             `AuditContext::unattributed()` to keep its actor"
        );
    }

    #[test]
    fn a_nested_context_attributes_an_unattributed_transaction() {
        let outer = settings(&AuditContext::unattributed().source("importer"));
        assert_eq!(
            settings(&user("1")).within(&outer),
            Ok(settings(&user("1").source("importer")))
        );
    }

    #[test]
    fn a_setting_that_others_have_spoilt_is_named() {
        let outer = Settings {
            actor_ref: "ann".to_owned(),
            ..settings(&AuditContext::unattributed())
        };
        assert_eq!(
            settings(&user("1")).within(&outer).unwrap_err().to_string(),
            r#"the setting threadline.actor_ref of the open transaction isn't of the form {"type": "user", "id": "42"}"#
        );
        let outer = Settings {
            meta: "[1]".to_owned(),
            ..settings(&AuditContext::unattributed())
        };
        let inner = settings(&AuditContext::default().metadata("a", 1));
        assert!(matches!(
            inner.within(&outer),
            Err(ContextError::MalformedSetting { setting: META, .. })
        ));
    }
}
