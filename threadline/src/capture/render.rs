//! Renders a plan as SQL. Pure: the same plan gives the same text.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::name::dollar_quoted;
use super::{CapturePlan, Identifier, Key, Literal, Storage};
use crate::definition::{Level, RequireActor, Truncate};

/// The body of the function of a row trigger; `:name` stands for what [`CapturePlan::body`] fills in.
const ROW: &str = include_str!("trigger.sql");

/// The body of the function of statement triggers.
const STATEMENT: &str = include_str!("statement.sql");

/// What both do where the images of a row don't show everything.
const CAREFUL: &str = include_str!("careful.sql");

/// Values above this many bytes are left out of the log, which keeps their digest instead.
const MAX_VALUE_BYTES: usize = 1_000_000;

/// How long a migration waits for the table before it gives up: behind it, all writers of the table wait too.
const LOCK_TIMEOUT: &str = "2s";

impl CapturePlan {
    /// The SQL that installs the plan, or brings an installed table to it.
    #[must_use]
    pub fn up_sql(&self, storage: &Storage) -> String {
        let key = match self.key() {
            Key::Columns(columns) => array(columns),
            Key::Catalog => "NULL".to_owned(),
        };
        format!(
            "SELECT {storage}.threadline_capture_v1(
    relation => {relation},
    target => {target},
    key_columns => {key},
    rules => {rules},
    former_names => {former_names},
    former_columns => {former_columns},
    fingerprint => '{fingerprint}',
    lock_timeout => '{LOCK_TIMEOUT}',
    body => {body});
",
            storage = storage.schema(),
            relation = self.relation(),
            target = Literal(&self.table().to_string()),
            rules = Literal(&self.rules().to_string()),
            former_names = array(self.formerly()),
            former_columns = Literal(&self.former_columns()),
            fingerprint = self.fingerprint(),
            body = dollar_quoted("threadline", &format!("\n{}", self.body(storage))),
        )
    }

    /// The SQL that ends the capture of the table and leaves its history.
    #[must_use]
    pub fn down_sql(&self, storage: &Storage) -> String {
        format!(
            "SELECT {}.threadline_release_v1(\n    relation => {},\n    target => {},\n    lock_timeout => '{LOCK_TIMEOUT}');\n",
            storage.schema(),
            self.relation(),
            Literal(&self.table().to_string()),
        )
    }

    /// Identifies the plan and the SQL made of it: 16 hexadecimal digits (64-bit FNV-1a).
    #[must_use]
    pub fn fingerprint(&self) -> String {
        // Made of what is rendered, so that a new version of the trigger's body is a change of every plan.
        let text = format!("{self:?}{}", self.body(&Storage::default()));
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }

    fn relation(&self) -> String {
        format!("to_regclass({})", Literal(&self.table().sql()))
    }

    fn body(&self, storage: &Storage) -> String {
        let template = match self.policy().level {
            Level::Row => ROW,
            Level::Statement => STATEMENT,
        };
        let value = |name: &str| match name {
            "storage" => Some(storage.schema().to_string()),
            "max_value_bytes" => Some(MAX_VALUE_BYTES.to_string()),
            _ => None,
        };
        let careful = fill(CAREFUL.trim_end(), value);
        fill(template, |name| match name {
            "careful" => Some(careful.clone()),
            _ => value(name),
        })
    }

    /// The policy as the recorder reads it: what doesn't apply is absent. What only the catalog knows is added when the
    /// migration runs.
    fn rules(&self) -> Value {
        let policy = self.policy();
        let mut rules = Map::new();
        rules.insert("max_value_bytes".to_owned(), MAX_VALUE_BYTES.into());
        let redacted = policy.exclude.union(&policy.mask).cloned().collect();
        for (name, columns) in [
            ("exclude", &policy.exclude),
            ("redacted", &redacted),
            ("except_columns", &policy.except_columns),
            ("ignore_only", &policy.ignore_only),
            ("on_change", &policy.on_change),
        ] {
            if !columns.is_empty() {
                let names = columns.iter().map(Identifier::as_str);
                rules.insert(name.to_owned(), names.collect());
            }
        }
        if !policy.mask.is_empty() {
            let placeholder = policy.placeholder.as_str();
            let mask = policy.mask.iter().map(|c| (c.as_str(), placeholder));
            rules.insert("mask".to_owned(), mask.collect());
        }
        if policy.store_changed_from {
            rules.insert("store_changed_from".to_owned(), true.into());
        }
        let words = [
            (
                "require_actor",
                policy.require_actor.map(|required| match required {
                    RequireActor::Any => "any",
                    RequireActor::Known => "known",
                }),
            ),
            (
                "level",
                match policy.level {
                    Level::Row => None,
                    Level::Statement => Some("statement"),
                },
            ),
            (
                "truncate",
                match policy.truncate {
                    Truncate::Marker => None,
                    Truncate::Rows => Some("rows"),
                    Truncate::Refuse => Some("refuse"),
                },
            ),
        ];
        for (name, word) in words {
            if let Some(word) = word {
                rules.insert(name.to_owned(), word.into());
            }
        }
        rules.into()
    }

    /// Columns with their former names, newest first, as JSON.
    fn former_columns(&self) -> String {
        let mut names = Map::new();
        for (column, former) in self.columns_formerly() {
            let list = names
                .entry(column.as_str())
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(former.as_str().into());
            }
        }
        Value::Object(names).to_string()
    }
}

/// A text[] literal.
fn array<'a>(columns: impl IntoIterator<Item = &'a Identifier>) -> String {
    let mut text = String::from("{");
    for column in columns {
        if text.len() > 1 {
            text.push(',');
        }
        let escaped = column.as_str().replace('\\', "\\\\").replace('"', "\\\"");
        // Writing to a String can't fail.
        let _ = write!(text, "\"{escaped}\"");
    }
    text.push('}');
    Literal(&text).to_string()
}

/// Replaces every `:name` that `value` knows, in one pass: what is filled in is never looked at again.
pub(super) fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(colon) = rest.find(':') {
        let (before, after) = rest.split_at(colon + 1);
        let end = after
            .find(|c: char| !c.is_ascii_lowercase() && c != '_')
            .unwrap_or(after.len());
        if let Some(value) = value(&after[..end]) {
            filled.push_str(&before[..colon]);
            filled.push_str(&value);
            rest = &after[end..];
        } else {
            filled.push_str(before);
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}
