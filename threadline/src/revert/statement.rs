//! The statements of a revert: steps of one form, together.

use diesel::sql_types::{Array, Text};

use super::error::RevertError;
use super::source::{Column, Name, Source, Table};
use super::step::{Step, StepKind};
use crate::capture::Literal;

/// One statement of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statement<'a> {
    /// The rows that it writes: of one table, and the same columns of each.
    pub steps: &'a [Step],
    /// Its text, as it is run. `threadline_records_of` makes records of the table from recorded values, as reads do.
    pub sql: String,
}

/// What a statement may have of recorded values, in bytes: the server reads them into one `jsonb`, which holds 256 MB and may
/// need several times the text.
const MAX_VALUES: usize = 16 << 20;

/// What is sent to the server at once, in bytes: a message holds 1 GB.
const MAX_BATCH: usize = 64 << 20;

/// The statement of the first of these steps, which have one form, and of as many others as one may have.
pub(super) fn statement<'a>(source: &Source, steps: &'a [Step]) -> Option<Statement<'a>> {
    let first = steps.first()?;
    let table = source.table(first.table_id)?;
    let mut values = String::new();
    let mut taken = 0;
    for step in steps {
        // A map of text to JSON always serializes.
        let row = serde_json::to_string(&step.values).unwrap_or_default();
        if taken > 0 && values.len() + row.len() > MAX_VALUES {
            break;
        }
        values.push_str(if taken == 0 { "[" } else { ",\n" });
        values.push_str(&row);
        taken += 1;
    }
    values.push(']');
    Some(Statement {
        steps: &steps[..taken],
        sql: table.statement(first, &values),
    })
}

diesel::define_sql_function! {
    /// Runs statements, and says how many rows each wrote.
    fn threadline_run_v1(statements: Array<Text>) -> Array<BigInt>;
}

/// Statements that are sent at once.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    pub(super) sql: Vec<String>,
    /// What each has to write; nothing for what comes before the steps.
    pub(super) steps: Vec<&'a [Step]>,
}

impl Batch<'_> {
    /// Whether each wrote the rows that it has to.
    pub(super) fn check(&self, written: &[i64]) -> Result<(), RevertError> {
        for (steps, rows) in self.steps.iter().zip(written) {
            let Some(first) = steps.first() else { continue };
            let rows = usize::try_from(*rows).unwrap_or_default();
            if rows != steps.len() {
                return Err(RevertError::Missed {
                    table: first.table.clone(),
                    rows,
                    expected: steps.len(),
                });
            }
        }
        Ok(())
    }
}

/// Statements in as few messages as hold them: one, unless the values take more than 64 MB.
pub(super) fn batches<'a>(
    preparation: Option<String>,
    statements: impl Iterator<Item = Statement<'a>>,
) -> Vec<Batch<'a>> {
    let prepared = preparation.map(|sql| Statement { steps: &[], sql });
    let mut batches: Vec<Batch<'a>> = Vec::new();
    let mut bytes = 0;
    for statement in prepared.into_iter().chain(statements) {
        bytes += statement.sql.len();
        if batches.is_empty() || bytes > MAX_BATCH {
            batches.push(Batch::default());
            bytes = statement.sql.len();
        }
        if let Some(batch) = batches.last_mut() {
            batch.sql.push(statement.sql);
            batch.steps.push(statement.steps);
        }
    }
    batches
}

impl Table {
    pub(super) fn display_name(&self) -> String {
        format!("{}.{}", self.schema.0.as_str(), self.name.0.as_str())
    }

    fn sql(&self) -> String {
        format!("{}.{}", self.schema.0, self.name.0)
    }

    /// The statement of steps like this one, with an array of their values as JSON.
    pub(super) fn statement(&self, step: &Step, values: &str) -> String {
        let columns: Vec<&Column> = self
            .columns
            .iter()
            .flatten()
            .filter(|column| step.columns.iter().any(|c| c == column.name.0.as_str()))
            .collect();
        let each = |form: &dyn Fn(&Name) -> String| {
            let forms: Vec<_> = columns.iter().map(|column| form(&column.name)).collect();
            forms.join(", ")
        };
        let table = self.sql();
        let records = format!(
            "threadline_records_of(NULL::{table}, {}) AS r",
            Literal(values)
        );
        let same_key = self.key.iter().map(|Name(k)| format!("t.{k} = r.{k}"));
        let same_key = same_key.collect::<Vec<_>>().join(" AND ");
        match step.kind {
            StepKind::Insert => format!(
                "INSERT INTO {table} ({}){} SELECT {} FROM {records}",
                each(&|Name(column)| column.to_string()),
                if columns.iter().any(|column| column.always) {
                    " OVERRIDING SYSTEM VALUE"
                } else {
                    ""
                },
                each(&|Name(column)| format!("r.{column}")),
            ),
            StepKind::Update => format!(
                "UPDATE {table} AS t SET {} FROM {records} WHERE {same_key}",
                each(&|Name(column)| format!("{column} = r.{column}")),
            ),
            StepKind::Delete => {
                format!("DELETE FROM {table} AS t USING {records} WHERE {same_key}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(bytes: &[usize]) -> impl Iterator<Item = Statement<'static>> {
        bytes.iter().map(|bytes| Statement {
            steps: &[],
            sql: "x".repeat(*bytes),
        })
    }

    #[test]
    fn statements_are_sent_at_once_up_to_a_size() {
        let of = |bytes: &[usize]| -> Vec<usize> {
            let batches = batches(Some("first".to_owned()), statements(bytes));
            batches.iter().map(|batch| batch.sql.len()).collect()
        };
        assert_eq!(of(&[1; 1000]), [1001]);
        assert_eq!(of(&[MAX_BATCH / 2; 3]), [2, 2]);
        assert_eq!(of(&[MAX_BATCH + 1, 1]), [1, 1, 1]);
    }
}
