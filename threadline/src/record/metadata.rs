//! The free part of a context, kept within what can be stored and read back.

use serde_json::{Map, Value, json};

use super::context_error::ContextError;
use super::settings::META;

const MAX_METADATA_BYTES: usize = 16 * 1024;

/// Well below the 128 levels at which serde_json refuses to read a stored value back.
const MAX_METADATA_LEVELS: usize = 64;

/// The metadata as JSON text, empty if there are none.
pub(super) fn checked(metadata: &Map<String, Value>) -> Result<String, ContextError> {
    if metadata.is_empty() {
        return Ok(String::new());
    }
    for (key, value) in metadata {
        if nests_deeper(value, MAX_METADATA_LEVELS - 1) {
            return Err(ContextError::MetadataTooDeep {
                key: key.clone(),
                limit: MAX_METADATA_LEVELS,
            });
        }
        if key.contains('\0') || holds_nul(value) {
            return Err(ContextError::MetadataNul { key: key.clone() });
        }
    }
    let text = json!(metadata).to_string();
    if text.len() > MAX_METADATA_BYTES {
        return Err(ContextError::MetadataTooLarge {
            bytes: text.len(),
            limit: MAX_METADATA_BYTES,
        });
    }
    Ok(text)
}

fn nests_deeper(value: &Value, levels: usize) -> bool {
    let deeper = |inner| nests_deeper(inner, levels - 1);
    match value {
        Value::Array(values) => levels == 0 || values.iter().any(deeper),
        Value::Object(entries) => levels == 0 || entries.values().any(deeper),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(entries) => entries
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The metadata in force inside `outer`, both as JSON text.
pub(super) fn nested(own: String, outer: &str) -> Result<String, ContextError> {
    if outer.is_empty() || own == outer {
        return Ok(own);
    }
    if own.is_empty() {
        return Ok(outer.to_owned());
    }
    let parse = |text: &str| {
        serde_json::from_str::<Map<String, Value>>(text).map_err(|_| {
            ContextError::MalformedSetting {
                setting: META,
                expected: r#"{"tenant": "acme"}"#,
            }
        })
    };
    let mut merged = parse(outer)?;
    merged.extend(parse(&own)?);
    checked(&merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::AuditContext;

    #[test]
    fn metadata_are_bounded_as_json() {
        let of_size = |bytes: usize| {
            let around = r#"{"k":""}"#.len();
            AuditContext::default().metadata("k", "x".repeat(bytes - around))
        };
        assert_eq!(of_size(MAX_METADATA_BYTES).validate(), Ok(()));
        assert_eq!(
            of_size(MAX_METADATA_BYTES + 1).validate(),
            Err(ContextError::MetadataTooLarge {
                bytes: MAX_METADATA_BYTES + 1,
                limit: MAX_METADATA_BYTES
            })
        );
    }

    #[test]
    fn metadata_are_no_deeper_than_can_be_read_back() {
        let of_levels = |levels: usize| {
            let value = (2..levels).fold(json!({}), |inner, _| json!([inner]));
            AuditContext::default().metadata("key", value)
        };
        assert_eq!(of_levels(64).validate(), Ok(()));
        for levels in [65, 1000] {
            assert_eq!(
                of_levels(levels).validate(),
                Err(ContextError::MetadataTooDeep {
                    key: "key".into(),
                    limit: 64
                })
            );
        }
    }

    #[test]
    fn a_nul_in_metadata_is_found_wherever_it_hides() {
        for value in [
            json!("\0"),
            json!(["a", {"b": "c\0"}]),
            json!({"a": {"\0": 1}}),
        ] {
            assert_eq!(
                AuditContext::default().metadata("key", value).validate(),
                Err(ContextError::MetadataNul { key: "key".into() })
            );
        }
        let backslash = AuditContext::default().metadata("key", r"\u0000");
        assert_eq!(backslash.validate(), Ok(()));
    }

    #[test]
    fn metadata_are_bounded_also_when_they_add_up() {
        let of = |key: &str| json!({ key: "x".repeat(MAX_METADATA_BYTES / 2) }).to_string();
        assert!(matches!(
            nested(of("b"), &of("a")),
            Err(ContextError::MetadataTooLarge { .. })
        ));
        assert_eq!(nested(of("a"), &of("a")), Ok(of("a")));
    }
}
