//! Names in headers. A header is an SQL comment, and a line break in a table's name must not end it.

use std::fmt;

use crate::capture::{Identifier, TableName};

/// Displays a name bare if it is plain, and as a JSON string otherwise.
pub(super) struct Word<'a>(pub(super) &'a Identifier);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.as_str();
        if name.chars().all(is_plain) {
            f.write_str(name)
        } else {
            write!(f, "{}", serde_json::Value::from(name))
        }
    }
}

/// Displays a table for [`table`] to read.
pub(super) struct Table<'a>(pub(super) &'a TableName);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = self.0.schema() {
            write!(f, "{}.", Word(schema))?;
        }
        write!(f, "{}", Word(self.0.name()))
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

/// Reads one name; `None` unless it is all of the text.
pub(super) fn identifier(text: &str) -> Option<Identifier> {
    let (name, rest) = word(text)?;
    rest.is_empty().then_some(name)
}

/// Reads `table` or `schema.table`.
pub(super) fn table(text: &str) -> Option<TableName> {
    let (first, rest) = word(text)?;
    match rest.strip_prefix('.') {
        Some(rest) => Some(TableName::new(Some(first), identifier(rest)?)),
        None => rest.is_empty().then(|| TableName::new(None, first)),
    }
}

/// Reads names with commas between them; no text is no names.
pub(super) fn identifiers(mut text: &str) -> Option<Vec<Identifier>> {
    let mut names = Vec::new();
    while !text.is_empty() {
        let (name, rest) = word(text)?;
        names.push(name);
        text = match rest.strip_prefix(", ") {
            Some("") => return None,
            Some(rest) => rest,
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(names)
}

fn word(text: &str) -> Option<(Identifier, &str)> {
    let (name, rest) = if text.starts_with('"') {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let name = values.next()?.ok()?;
        (name, &text[values.byte_offset()..])
    } else {
        let end = text.find(|c| !is_plain(c)).unwrap_or(text.len());
        (text[..end].to_owned(), &text[end..])
    };
    Some((Identifier::new(name).ok()?, rest))
}
