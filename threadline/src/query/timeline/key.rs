//! A row's key, as a filter has it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

/// The values of the key columns, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilterKey {
    columns: BTreeMap<String, String>,
    /// The same as a JSON object of strings.
    json: String,
}

impl FilterKey {
    pub(super) fn new<C: Into<String>, V: ToString>(
        columns: impl IntoIterator<Item = (C, V)>,
    ) -> Self {
        let columns: BTreeMap<_, _> = columns
            .into_iter()
            .map(|(column, value)| (column.into(), value.to_string()))
            .collect();
        let object: serde_json::Map<_, _> = columns
            .iter()
            .map(|(column, value)| (column.clone(), Value::from(value.as_str())))
            .collect();
        let json = Value::Object(object).to_string();
        Self { columns, json }
    }

    pub(super) fn json(&self) -> &str {
        &self.json
    }

    /// Reads a JSON object of strings, numbers and booleans, or `column=value`, several of them with commas between.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.trim_start().starts_with('{') {
            // Raw, so that a number keeps its digits.
            let object: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).ok()?;
            let columns = object.into_iter().map(|(column, value)| {
                let text = match serde_json::from_str(value.get()) {
                    Ok(Value::String(text)) => text,
                    Ok(Value::Number(_) | Value::Bool(_)) => value.get().to_owned(),
                    _ => return None,
                };
                Some((column, text))
            });
            return columns.collect::<Option<Vec<_>>>().and_then(Self::checked);
        }
        let pairs = text.split(',').map(|pair| pair.split_once('='));
        let columns: Option<Vec<_>> = pairs
            .map(|pair| pair.map(|(column, value)| (column.trim().to_owned(), value.to_owned())))
            .collect();
        columns.and_then(Self::checked)
    }

    fn checked(columns: Vec<(String, String)>) -> Option<Self> {
        let count = columns.len();
        let key = Self::new(columns);
        let complete = count > 0 && key.columns.len() == count;
        let named = key.columns.keys().all(|column| !column.is_empty());
        (complete && named).then_some(key)
    }
}

/// As JSON.
impl fmt::Display for FilterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}
