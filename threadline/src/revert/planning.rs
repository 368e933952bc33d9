//! From what the server says to steps and conflicts: pure.

use std::collections::HashMap;

use super::conflict::{Conflict, ConflictKind, Decision};
use super::order;
use super::source::{Column, Row, Source, Table};
use super::step::{self, Step, StepKind};
use crate::diff::FieldValue;
use crate::query::RecordedRow;

/// Conflicts with what was decided about them.
pub(super) type Decisions = Vec<(Conflict, Decision)>;

/// What a plan consists of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub(super) steps: Vec<Step>,
    pub(super) conflicts: Vec<Conflict>,
    /// Constraints that have to be deferred, quoted.
    pub(super) deferred: Vec<String>,
}

/// A row that the plan writes.
pub(super) struct Undo<'a> {
    pub(super) row: &'a Row,
    pub(super) step: Step,
}

/// The rows that are to be written, by table and key.
type Active<'a> = HashMap<(i32, &'a RecordedRow), &'a Row>;

pub(super) fn planned(source: &Source, decisions: &Decisions) -> Planned {
    let tables: HashMap<i32, &Table> = source
        .tables
        .iter()
        .map(|table| (table.id, table))
        .collect();
    let skipped = |table: &str, key: &RecordedRow| {
        decisions.iter().any(|(conflict, decision)| {
            *decision == Decision::Skip && conflict.same_row(table, key)
        })
    };
    let rows: Vec<(&Table, &Row)> = source
        .rows
        .iter()
        .filter_map(|row| Some((*tables.get(&row.table_id)?, row)))
        .filter(|(table, row)| !skipped(&table.display_name(), &row.key))
        .collect();
    let active: Active<'_> = rows
        .iter()
        .map(|(_, row)| ((row.table_id, &row.key), *row))
        .collect();

    let mut conflicts = Vec::new();
    for table in &source.truncated {
        let key = RecordedRow::default();
        if !skipped(table, &key) {
            conflicts.push(Conflict {
                table: table.clone(),
                key,
                columns: Vec::new(),
                kind: ConflictKind::Truncated,
                may_force: false,
            });
        }
    }
    let mut undone = Vec::new();
    for (table, row) in rows {
        let mut planner = Planner {
            table,
            row,
            source,
            active: &active,
            conflicts: &mut conflicts,
        };
        if let Some(step) = planner.step() {
            undone.push(Undo { row, step });
        }
    }
    let order = order::ordered(source, &tables, undone);
    conflicts.extend(order.cyclic);
    Planned {
        steps: order.steps,
        conflicts,
        deferred: order.deferred,
    }
}

struct Planner<'a, 'p> {
    table: &'a Table,
    row: &'a Row,
    source: &'a Source,
    active: &'p Active<'a>,
    conflicts: &'p mut Vec<Conflict>,
}

impl<'a> Planner<'a, '_> {
    /// The statement, as if every conflict were forced. `None` if there is nothing to write.
    fn step(&mut self) -> Option<Step> {
        if self.table.columns.is_none() {
            if self.row.before.is_some() || self.row.after.is_some() {
                self.conflict(Vec::new(), ConflictKind::TableGone, false);
            }
            return None;
        }
        let step = self.step_of_table();
        if step.is_some() && !self.table.captured {
            self.conflict(Vec::new(), ConflictKind::NotCaptured, false);
        }
        step
    }

    fn step_of_table(&mut self) -> Option<Step> {
        let Row {
            before,
            after,
            live,
            ..
        } = self.row;
        match (before, after) {
            (None, None) => None,
            (None, Some(_)) => {
                self.still_there()?;
                self.still_referenced();
                Some(step::delete(self.table, &self.row.key))
            }
            (Some(_), None) if *live => {
                let kind = ConflictKind::KeyTaken {
                    constraint: None,
                    holder: self.row.key.clone(),
                };
                self.conflict(self.key_columns(), kind, false);
                None
            }
            (Some(before), None) => self.restored(before),
            (Some(before), Some(after)) => self.changed_back(before, after),
        }
    }

    fn restored(&mut self, before: &RecordedRow) -> Option<Step> {
        if before.is_empty() {
            let columns = self
                .columns()
                .map(|c| c.name.0.as_str().to_owned())
                .collect();
            self.conflict(columns, ConflictKind::NotRecorded, false);
            return None;
        }
        let columns: Vec<&Column> = self.columns().filter(|column| !column.generated).collect();
        let known = self.known(
            before,
            &columns,
            |column| {
                // Columns that came later are NULL, or have their default.
                before.has(column) || self.table.except.iter().any(|except| except == column)
            },
            |column| !column.not_null || column.has_default,
        );
        self.obstacles();
        let values = part(before, &known);
        Some(step::insert(self.table, &self.row.key, &known, &values))
    }

    fn changed_back(&mut self, before: &RecordedRow, after: &RecordedRow) -> Option<Step> {
        let redacted = &self.table.redacted;
        let names: Vec<&str> = if self.row.remade {
            let excluded = redacted.excluded_from(before);
            let excluded = excluded.filter(|name| self.has_column(name));
            before.columns().chain(excluded).collect()
        } else {
            self.row.changed.iter().map(String::as_str).collect()
        };
        // What came back to where it was needs nothing; of a redacted column nobody can tell.
        let names: Vec<&str> = names
            .into_iter()
            .filter(|name| {
                let (from, to) = (before.get(name), after.get(name));
                from.is_none()
                    || from != to
                    || from.is_some_and(|value| redacted.hides(name, value))
            })
            .collect();
        let gone: Vec<String> = names
            .iter()
            .filter(|name| !self.has_column(name))
            .map(|name| (*name).to_owned())
            .collect();
        let columns: Vec<&Column> = self
            .columns()
            .filter(|column| !column.generated && names.contains(&column.name.0.as_str()))
            .collect();
        if columns.is_empty() && gone.is_empty() {
            return None;
        }
        self.still_there()?;
        if !gone.is_empty() {
            self.conflict(gone, ConflictKind::NoSuchColumn, true);
        }
        let known = self.known(before, &columns, |_| true, |_| true);
        self.obstacles();
        if known.is_empty() {
            return None;
        }
        let values = part(before, &known);
        Some(step::update(self.table, &self.row.key, &known, &values))
    }

    /// The columns whose values before are known. `expected` says whether a column should be, `dispensable` whether the
    /// statement can do without it.
    fn known(
        &mut self,
        before: &RecordedRow,
        columns: &[&'a Column],
        expected: impl Fn(&str) -> bool,
        dispensable: impl Fn(&Column) -> bool,
    ) -> Vec<&'a Column> {
        let (mut known, mut redacted, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for column in columns {
            let name = column.name.0.as_str();
            let value = before.get(name);
            match value.map(|value| FieldValue::read(name, value, &self.table.redacted)) {
                Some(FieldValue::Recorded(_)) => known.push(*column),
                Some(FieldValue::Redacted) => redacted.push(*column),
                None if self.table.redacted.has(name) => redacted.push(*column),
                None if !expected(name) => {}
                _ => missing.push(*column),
            }
        }
        for (columns, kind) in [
            (redacted, ConflictKind::Redacted),
            (missing, ConflictKind::NotRecorded),
        ] {
            if !columns.is_empty() {
                let may_force = columns.iter().all(|column| dispensable(column));
                let names = columns.iter().map(|c| c.name.0.as_str().to_owned());
                self.conflict(names.collect(), kind, may_force);
            }
        }
        known
    }

    /// Refuses to touch a row that is gone or has changed.
    fn still_there(&mut self) -> Option<()> {
        if !self.row.live {
            self.conflict(Vec::new(), ConflictKind::Gone, false);
            return None;
        }
        if !self.row.since.is_empty() {
            self.conflict(self.row.since.clone(), ConflictKind::ChangedSince, true);
        }
        Some(())
    }

    /// Unique keys that others hold and keep, and foreign keys whose rows are gone and don't come back.
    fn obstacles(&mut self) {
        for taken in &self.row.taken {
            if !self.gives_up(self.row.table_id, &taken.holder, &taken.columns) {
                let kind = ConflictKind::KeyTaken {
                    constraint: Some(taken.constraint.clone()),
                    holder: taken.holder.clone(),
                };
                self.conflict(taken.columns.clone(), kind, false);
            }
        }
        for orphaned in &self.row.orphaned {
            if !self.comes_back(&orphaned.constraint) {
                let kind = ConflictKind::MissingParent {
                    constraint: orphaned.constraint.clone(),
                    parent: orphaned.parent.clone(),
                };
                self.conflict(orphaned.columns.clone(), kind, false);
            }
        }
    }

    fn still_referenced(&mut self) {
        for referring in &self.row.referring {
            let staying = referring
                .keys
                .iter()
                .filter(|key| match referring.table_id {
                    Some(table) => !self.gives_up(table, key, &referring.columns),
                    None => true,
                });
            let rows = staying.count();
            if rows > 0 {
                let kind = ConflictKind::StillReferenced {
                    constraint: referring.constraint.clone(),
                    child: referring.child.clone(),
                    rows,
                };
                self.conflict(referring.columns.clone(), kind, false);
            }
        }
    }

    /// Whether the plan takes the row away, or other values of these columns back.
    fn gives_up(&self, table: i32, key: &RecordedRow, columns: &[String]) -> bool {
        self.active
            .get(&(table, key))
            .is_some_and(|row| match &row.before {
                None => true,
                Some(before) => columns.iter().any(|column| {
                    (row.remade || row.changed.contains(column))
                        && before.get(column) != row.after.as_ref().and_then(|a| a.get(column))
                }),
            })
    }

    /// Whether the plan puts back the row that a foreign key of this one names.
    fn comes_back(&self, constraint: &str) -> bool {
        let mut keys = self.source.foreign_keys.iter();
        let found =
            keys.find(|key| key.child == self.row.table_id && key.name.0.as_str() == constraint);
        let Some(key) = found else { return false };
        let wanted = order::values(self.row, &key.child_columns, true);
        wanted.is_some()
            && self.active.iter().any(|((table, _), row)| {
                *table == key.parent
                    && row.before.is_some()
                    && order::values(row, &key.parent_columns, true) == wanted
            })
    }

    fn columns(&self) -> impl Iterator<Item = &'a Column> + use<'a> {
        self.table.columns.iter().flatten()
    }

    fn has_column(&self, name: &str) -> bool {
        self.columns().any(|column| column.name.0.as_str() == name)
    }

    fn key_columns(&self) -> Vec<String> {
        let names = self.table.key.iter();
        names.map(|name| name.0.as_str().to_owned()).collect()
    }

    fn conflict(&mut self, columns: Vec<String>, kind: ConflictKind, may_force: bool) {
        self.conflicts.push(Conflict {
            table: self.table.display_name(),
            key: self.row.key.clone(),
            columns,
            kind,
            may_force,
        });
    }
}

/// The values of some columns, as they were written.
fn part(row: &RecordedRow, columns: &[&Column]) -> RecordedRow {
    columns
        .iter()
        .map(|column| column.name.0.as_str())
        .filter_map(|name| Some((name.to_owned(), FieldValue::unquoted(row.get(name)?))))
        .collect()
}

/// Whether a step writes one of these columns, or the row as a whole.
pub(super) fn writes(step: &Step, columns: &[String]) -> bool {
    step.kind != StepKind::Update || columns.iter().any(|column| step.columns.contains(column))
}
