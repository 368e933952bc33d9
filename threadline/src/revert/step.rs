//! What a revert does to one row.

use super::source::Table;
use crate::query::RecordedRow;

/// What a plan does to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The table, as `schema.name`.
    pub table: String,
    /// The key of the row that it writes: every key column as text.
    pub key: RecordedRow,
    /// What it does.
    pub kind: StepKind,
    /// The columns that it writes.
    pub columns: Vec<String>,
    pub(super) table_id: i32,
    /// The values that it writes. Of an update and of a delete the key too.
    pub(super) values: RecordedRow,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepKind {
    /// Puts a deleted row back.
    Insert,
    /// Puts values back.
    Update,
    /// Takes an inserted row away.
    Delete,
}

impl Step {
    pub(super) fn insert(table: &Table, key: &RecordedRow, values: RecordedRow) -> Self {
        Self::new(
            table,
            key,
            StepKind::Insert,
            columns(table, &values),
            values,
        )
    }

    pub(super) fn update(table: &Table, key: &RecordedRow, values: &RecordedRow) -> Self {
        let keyed = values
            .iter()
            .chain(key)
            .map(|(n, v)| (n.to_owned(), v.clone()));
        let keyed = keyed.collect();
        Self::new(table, key, StepKind::Update, columns(table, values), keyed)
    }

    pub(super) fn delete(table: &Table, key: &RecordedRow) -> Self {
        Self::new(table, key, StepKind::Delete, Vec::new(), key.clone())
    }

    fn new(
        table: &Table,
        key: &RecordedRow,
        kind: StepKind,
        columns: Vec<String>,
        values: RecordedRow,
    ) -> Self {
        Self {
            table: table.display_name(),
            key: key.clone(),
            kind,
            columns,
            table_id: table.id,
            values,
        }
    }

    /// Whether it writes one of these columns, or the row as a whole.
    pub(super) fn writes(&self, columns: &[String]) -> bool {
        self.kind != StepKind::Update || columns.iter().any(|column| self.columns.contains(column))
    }

    /// What steps have in common that one statement can do together.
    pub(super) fn form(&self) -> (i32, StepKind, &[String]) {
        (self.table_id, self.kind, &self.columns)
    }
}

/// The columns that have a value, in the order of the table.
fn columns(table: &Table, values: &RecordedRow) -> Vec<String> {
    let columns = table.columns.iter().flatten();
    let names = columns.map(|column| column.name.0.as_str());
    let written = names.filter(|name| values.has(name));
    written.map(ToOwned::to_owned).collect()
}
