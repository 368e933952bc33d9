//! The `down.sql` that brings an earlier capture back, so that the table stays captured while a change is rolled back.

use super::state::Captured;
use super::word::Table;
use crate::capture::{CapturePlan, Identifier};

/// The earlier SQL as it was, under the names that it knows.
///
/// That SQL refuses to run where its table or a column is missing, and the migration that renamed them is rolled back
/// only after this one. So their names are turned back around it, which leaves the database as this migration found it.
pub(super) fn restore(plan: &CapturePlan, before: &Captured) -> String {
    let mut sql = format!(
        "-- Captures {} as before.\n\n",
        Table(&before.capture.table)
    );
    let renames = Renames::between(plan, before);
    if renames.is_empty() {
        return sql + &before.sql;
    }
    sql += "SET LOCAL lock_timeout = '2s';\n";
    sql += &renames.undone(plan, before);
    sql.push('\n');
    sql += &before.sql;
    sql.push('\n');
    sql += &renames.done(plan, before);
    sql
}

/// What has another name now than in the earlier SQL.
struct Renames<'a> {
    /// The table.
    table: bool,
    /// The columns: (now, then).
    columns: Vec<&'a (Identifier, Identifier)>,
}

impl<'a> Renames<'a> {
    fn between(plan: &'a CapturePlan, before: &Captured) -> Self {
        let named = &before.capture.columns;
        Self {
            table: plan.table().name() != before.capture.table.name(),
            columns: plan
                .columns_formerly()
                .iter()
                .filter(|(now, then)| named.contains(then) && !named.contains(now))
                .collect(),
        }
    }

    fn is_empty(&self) -> bool {
        !self.table && self.columns.is_empty()
    }

    fn undone(&self, plan: &CapturePlan, before: &Captured) -> String {
        let mut sql = String::new();
        if self.table {
            sql += &rename(&plan.table().sql(), "", before.capture.table.name());
        }
        for (now, then) in &self.columns {
            sql += &rename(&before.capture.table.sql(), &format!("{now} "), then);
        }
        sql
    }

    fn done(&self, plan: &CapturePlan, before: &Captured) -> String {
        let mut sql = String::new();
        for (now, then) in &self.columns {
            sql += &rename(&before.capture.table.sql(), &format!("{then} "), now);
        }
        if self.table {
            sql += &rename(&before.capture.table.sql(), "", plan.table().name());
        }
        sql
    }
}

fn rename(table: &str, column: &str, to: &Identifier) -> String {
    format!("ALTER TABLE {table} RENAME {column}TO {to};\n")
}
