//! Renders a plan as SQL. Pure: the same plan gives the same text.

use std::fmt::Write as _;

use super::name::dollar_quoted;
use super::{CapturePlan, Identifier, Key, Literal, Storage};
use crate::definition::RequireActor;

/// The trigger function's body; `:name` stands for an identifier or a literal of the plan.
const TRIGGER: &str = include_str!("trigger.sql");

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
    redacted => {redacted},
    listed_columns => {listed},
    former_names => {former_names},
    former_columns => {former_columns},
    fingerprint => '{fingerprint}',
    lock_timeout => '{LOCK_TIMEOUT}',
    body => {body});
",
            storage = storage.schema(),
            relation = self.relation(),
            target = Literal(&self.table().to_string()),
            redacted = Literal(&self.redacted()),
            listed = array(self.listed()),
            former_names = array(self.formerly()),
            former_columns = Literal(&self.former_columns()),
            fingerprint = self.fingerprint(),
            body = dollar_quoted("threadline", &format!("\n{}", self.trigger_body(storage))),
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
        let text = format!("{self:?}{}", self.trigger_body(&Storage::default()));
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }

    fn relation(&self) -> String {
        format!("to_regclass({})", Literal(&self.table().sql()))
    }

    fn trigger_body(&self, storage: &Storage) -> String {
        let policy = self.policy();
        let storage = storage.schema().to_string();
        let require_actor = match policy.require_actor {
            None => "NULL",
            Some(RequireActor::Any) => "'any'",
            Some(RequireActor::Known) => "'known'",
        };
        fill(TRIGGER, |name| {
            Some(match name {
                "storage" => storage.clone(),
                "exclude" => array(&policy.exclude),
                "mask" => Literal(&self.mask()).to_string(),
                "except_columns" => array(&policy.except_columns),
                "ignore_only" => array(&policy.ignore_only),
                "store_changed_from" => policy.store_changed_from.to_string(),
                "require_actor" => require_actor.to_owned(),
                "redacted" => array(policy.exclude.union(&policy.mask)),
                "max_value_bytes" => MAX_VALUE_BYTES.to_string(),
                _ => return None,
            })
        })
    }

    /// Masked columns with their placeholder, as JSON.
    fn mask(&self) -> String {
        let placeholder = self.policy().placeholder.as_str();
        json_object(
            self.policy()
                .mask
                .iter()
                .map(|column| (column, placeholder.into())),
        )
    }

    /// Masked columns with their placeholder, excluded ones with null, as JSON.
    fn redacted(&self) -> String {
        let policy = self.policy();
        let masked = policy
            .mask
            .iter()
            .map(|c| (c, policy.placeholder.as_str().into()));
        let excluded = policy.exclude.iter().map(|c| (c, serde_json::Value::Null));
        json_object(masked.chain(excluded))
    }

    /// Every column that the rules name, to be looked up when the migration runs.
    fn listed(&self) -> Vec<&Identifier> {
        let policy = self.policy();
        let lists = [
            &policy.exclude,
            &policy.mask,
            &policy.except_columns,
            &policy.ignore_only,
        ];
        let mut listed: Vec<_> = lists.into_iter().flatten().collect();
        listed.sort();
        listed.dedup();
        listed
    }

    /// Columns with their former names, newest first, as JSON.
    fn former_columns(&self) -> String {
        let mut names = serde_json::Map::new();
        for (column, former) in self.columns_formerly() {
            let list = names
                .entry(column.as_str())
                .or_insert_with(|| serde_json::Value::Array(Vec::new()));
            if let serde_json::Value::Array(list) = list {
                list.push(former.as_str().into());
            }
        }
        serde_json::Value::Object(names).to_string()
    }
}

fn json_object<'a>(entries: impl Iterator<Item = (&'a Identifier, serde_json::Value)>) -> String {
    let object: serde_json::Map<_, _> = entries
        .map(|(column, value)| (column.as_str().to_owned(), value))
        .collect();
    serde_json::Value::Object(object).to_string()
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
