//! The statements of a revert.

use super::source::{Column, Name, Table};
use crate::capture::Literal;
use crate::query::RecordedRow;

/// One statement of a plan.
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
    /// The statement, as it is run. `threadline_record_of` makes a record of the table from recorded values, as reads do.
    pub sql: String,
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

impl Table {
    pub(super) fn display_name(&self) -> String {
        format!("{}.{}", self.schema.0.as_str(), self.name.0.as_str())
    }

    fn sql(&self) -> String {
        format!("{}.{}", self.schema.0, self.name.0)
    }

    /// Recorded values as a record of the table.
    fn record(&self, values: &RecordedRow) -> String {
        // A map of text to JSON always serializes.
        let json = serde_json::to_string(values).unwrap_or_default();
        format!(
            "threadline_record_of(NULL::{}, {})",
            self.sql(),
            Literal(&json)
        )
    }

    fn same_key(&self) -> String {
        let parts = self.key.iter().map(|Name(k)| format!("t.{k} = k.{k}"));
        parts.collect::<Vec<_>>().join(" AND ")
    }
}

/// `values` has one for each of `columns`.
pub(super) fn insert(
    table: &Table,
    key: &RecordedRow,
    columns: &[&Column],
    values: &RecordedRow,
) -> Step {
    let names = |prefix: &str| {
        let names = columns.iter().map(|c| format!("{prefix}{}", c.name.0));
        names.collect::<Vec<_>>().join(", ")
    };
    let overriding = if columns.iter().any(|column| column.always) {
        " OVERRIDING SYSTEM VALUE"
    } else {
        ""
    };
    let sql = format!(
        "INSERT INTO {} ({}){overriding} SELECT {} FROM {} AS r",
        table.sql(),
        names(""),
        names("r."),
        table.record(values),
    );
    step(table, key, StepKind::Insert, columns, sql)
}

/// `values` has one for each of `columns`.
pub(super) fn update(
    table: &Table,
    key: &RecordedRow,
    columns: &[&Column],
    values: &RecordedRow,
) -> Step {
    let set = columns.iter().map(|c| format!("{0} = r.{0}", c.name.0));
    let sql = format!(
        "UPDATE {} AS t SET {} FROM {} AS r, {} AS k WHERE {}",
        table.sql(),
        set.collect::<Vec<_>>().join(", "),
        table.record(values),
        table.record(key),
        table.same_key(),
    );
    step(table, key, StepKind::Update, columns, sql)
}

pub(super) fn delete(table: &Table, key: &RecordedRow) -> Step {
    let sql = format!(
        "DELETE FROM {} AS t USING {} AS k WHERE {}",
        table.sql(),
        table.record(key),
        table.same_key(),
    );
    step(table, key, StepKind::Delete, &[], sql)
}

fn step(
    table: &Table,
    key: &RecordedRow,
    kind: StepKind,
    columns: &[&Column],
    sql: String,
) -> Step {
    Step {
        table: table.display_name(),
        key: key.clone(),
        kind,
        columns: columns
            .iter()
            .map(|column| column.name.0.as_str().to_owned())
            .collect(),
        sql,
    }
}
