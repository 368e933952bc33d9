//! Plans in one line each.

use std::fmt::Write as _;

use threadline::capture::{CapturePlan, Identifier, Key, Placeholder, TableName};
use threadline::{Level, RequireActor, Truncate};

pub(crate) fn plan(plan: &CapturePlan) -> String {
    let policy = plan.policy();
    let key = match plan.key() {
        Key::Columns(columns) => list(columns),
        Key::Catalog => "(primary key)".to_owned(),
    };
    let mut line = format!(
        "{}: key={key} exclude={} mask={} except={}",
        table(plan.table()),
        list(&policy.exclude),
        list(&policy.mask),
        list(&policy.except_columns),
    );
    // Writing to a String can't fail.
    if policy.placeholder != Placeholder::default() {
        let _ = write!(line, " placeholder={:?}", policy.placeholder.as_str());
    }
    if policy.store_changed_from {
        line += " store_changed_from";
    }
    if !policy.ignore_only.is_empty() {
        let _ = write!(line, " ignore_only={}", list(&policy.ignore_only));
    }
    if !policy.on_change.is_empty() {
        let _ = write!(line, " on_change={}", list(&policy.on_change));
    }
    match policy.require_actor {
        None => {}
        Some(RequireActor::Known) => line += " require_actor=known",
        Some(_) => line += " require_actor",
    }
    if policy.level == Level::Statement {
        line += " level=statement";
    }
    match policy.truncate {
        Truncate::Rows => line += " truncate=rows",
        Truncate::Refuse => line += " truncate=refuse",
        _ => {}
    }
    line
}

pub(crate) fn table(table: &TableName) -> String {
    match table.schema() {
        Some(schema) => format!("{}.{}", name(schema), name(table.name())),
        None => name(table.name()),
    }
}

pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a Identifier>) -> String {
    let names: Vec<_> = names.into_iter().map(name).collect();
    if names.is_empty() {
        return "-".to_owned();
    }
    names.join(",")
}

/// Quoted unless it is plain, so that an odd name can't look like two, nor like two lines.
pub(crate) fn name(name: &Identifier) -> String {
    let name = name.as_str();
    if name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}
