//! What can be checked of a string: the same limits as where a capture plan is built, but at the literal.

use syn::LitStr;

/// PostgreSQL's limit on identifiers, in bytes.
const MAX_NAME: usize = 63;

/// The limit of `threadline::capture::Placeholder`, in characters.
const MAX_PLACEHOLDER: usize = 200;

pub(super) fn placeholder(text: &LitStr) -> Result<(), String> {
    let text = text.value();
    let reason = if text.is_empty() {
        "is empty".to_owned()
    } else if text.chars().count() > MAX_PLACEHOLDER {
        format!("is longer than {MAX_PLACEHOLDER} characters")
    } else if text.chars().any(char::is_control) {
        "holds control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(format!(
        "the mask placeholder {reason}; use 1 to {MAX_PLACEHOLDER} printable characters"
    ))
}

pub(super) fn sql_name(name: &LitStr) -> Result<(), String> {
    let name = name.value();
    let reason = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > MAX_NAME {
        format!("is longer than PostgreSQL's {MAX_NAME} bytes")
    } else if name.contains('\0') {
        "holds a NUL character".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("this name can't be one of PostgreSQL: it {reason}"))
}
