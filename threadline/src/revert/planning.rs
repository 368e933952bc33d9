//! From what the server says of a row to its step and its conflicts: pure.

use super::conflict::{Conflict, ConflictKind};
use super::draft::Draft;
use super::order;
use super::source::{Column, Row, Table};
use super::step::Step;
use crate::diff::FieldValue;
use crate::query::RecordedRow;

/// Plans one row.
pub(super) struct Planner<'a, 'p> {
    table: &'a Table,
    row: &'a Row,
    draft: &'p Draft<'a>,
    pub(super) conflicts: Vec<Conflict>,
    /// The places of rows without which there were another conflict.
    pub(super) relied: Vec<usize>,
}

impl<'a, 'p> Planner<'a, 'p> {
    pub(super) fn new(table: &'a Table, row: &'a Row, draft: &'p Draft<'a>) -> Self {
        Self {
            table,
            row,
            draft,
            conflicts: Vec::new(),
            relied: Vec::new(),
        }
    }

    /// The step, as if every conflict were forced. `None` if there is nothing to write.
    pub(super) fn step(&mut self) -> Option<Step> {
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
                Some(Step::delete(self.table, &self.row.key))
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
        Some(Step::insert(
            self.table,
            &self.row.key,
            part(before, &known),
        ))
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
        // The key is what it was: a row that got another one is another row.
        let columns: Vec<&Column> = self
            .columns()
            .filter(|column| !column.generated && !self.table.key.contains(&column.name))
            .filter(|column| names.contains(&column.name.0.as_str()))
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
        Some(Step::update(
            self.table,
            &self.row.key,
            &part(before, &known),
        ))
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
            let wanted = order::values(self.row, &orphaned.columns, true);
            let parent = wanted.and_then(|wanted| {
                let draft = self.draft;
                draft.returning(self.row.table_id, &orphaned.constraint, &wanted)
            });
            if let Some(parent) = parent {
                self.relied.push(parent);
            } else {
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
            let mut rows = 0;
            for key in &referring.keys {
                let goes = referring
                    .table_id
                    .is_some_and(|table| self.gives_up(table, key, &referring.columns));
                rows += usize::from(!goes);
            }
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
    fn gives_up(&mut self, table: i32, key: &RecordedRow, columns: &[String]) -> bool {
        let Some((place, row)) = self.draft.active(table, key) else {
            return false;
        };
        let gives_up = row.before.as_ref().is_none_or(|before| {
            columns.iter().any(|column| {
                (row.remade || row.changed.contains(column))
                    && before.get(column) != row.after.as_ref().and_then(|a| a.get(column))
            })
        });
        if gives_up {
            self.relied.push(place);
        }
        gives_up
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
