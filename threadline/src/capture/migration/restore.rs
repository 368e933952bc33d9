//! The `down.sql` that brings an earlier capture back, so that the table stays captured while a change is rolled back.

use super::state::Captured;
use super::word::Table;
use crate::capture::name::dollar_quoted;
use crate::capture::{CapturePlan, Identifier, Literal, TableName};

/// The earlier SQL as it was, under the names that it knows.
///
/// That SQL refuses to run where its table or a column is missing, and the migration that renamed them is rolled back
/// only after this one. So their names are turned back around it, which leaves the database as this migration found it.
pub(super) fn restore(plan: &CapturePlan, before: &Captured) -> String {
    let Captured { capture, sql, .. } = before;
    let title = title(&capture.table);
    let columns: Vec<_> = plan
        .columns_formerly()
        .iter()
        .filter(|(now, then)| capture.columns.contains(then) && !capture.columns.contains(now))
        .collect();
    let (now, then) = (plan.table(), &capture.table);
    if now.name() == then.name() && columns.is_empty() {
        return format!("{title}{sql}");
    }

    let mut undo = String::from("SET LOCAL lock_timeout = '2s';\n");
    let mut redo = String::new();
    if now.name() != then.name() {
        undo += &registered_as_before(now, before);
        undo += &rename(now, "", then.name());
    }
    for (now, former) in columns {
        undo += &rename(then, &format!("{now} "), former);
        redo += &rename(then, &format!("{former} "), now);
    }
    if now.name() != then.name() {
        redo += &rename(then, "", now.name());
    }
    format!("{title}{undo}\n{sql}\n{redo}")
}

/// The earlier SQL, unless the table is gone: a table that was dropped comes back after this `down.sql` has run.
pub(super) fn restore_if_there(before: &Captured) -> String {
    let Captured { capture, sql, .. } = before;
    let body = format!(
        "\nBEGIN\n    IF to_regclass({}) IS NOT NULL THEN\n        EXECUTE {};\n    END IF;\nEND\n",
        Literal(&capture.table.sql()),
        dollar_quoted("earlier", &format!("\n{sql}"))
    );
    format!(
        "{}DO {};\n",
        title(&capture.table),
        dollar_quoted("restore", &body)
    )
}

fn title(table: &TableName) -> String {
    format!("-- Captures {} as before.\n\n", Table(table))
}

fn rename(table: &TableName, column: &str, to: &Identifier) -> String {
    format!("ALTER TABLE {} RENAME {column}TO {to};\n", table.sql())
}

/// The entry that holds the table's history follows a rename only forward by itself.
fn registered_as_before(now: &TableName, before: &Captured) -> String {
    let then = Literal(before.capture.table.name().as_str());
    format!(
        "\
UPDATE {}.audit_tables t SET table_name = {then}, former_names = array_remove(t.former_names, {then})
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass({}) AND t.table_schema = n.nspname AND t.table_name = c.relname;
",
        before.capture.storage.schema(),
        Literal(&now.sql()),
    )
}
