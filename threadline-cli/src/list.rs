//! The plans of one run: those of the models, and of the tables on the command line.

pub(crate) mod describe;
mod names;

use threadline::capture::{
    CapturePlan, Columns, Identifier, Models, Placeholder, PlanError, Policy, TableName,
};
use threadline::{Level, RequireActor, Truncate};

use crate::args::{self, Actor, GenerateArguments, PolicyArguments};
use crate::error::CliError;

pub(crate) fn plans(
    arguments: &GenerateArguments,
    models: &Models,
) -> Result<Vec<CapturePlan>, CliError> {
    let tables = tables(&arguments.tables)?;
    if tables.is_empty() {
        if arguments.policy != PolicyArguments::default() {
            return Err(CliError::PolicyWithoutTables);
        }
        if models.is_empty() {
            return Err(CliError::NoTables);
        }
    }
    let mut plans = models.plans()?;
    for table in &tables {
        if plans.iter().any(|plan| plan.table() == table) {
            return Err(CliError::TableOfModel {
                table: table.to_string(),
            });
        }
    }
    let rules = Rules::read(&arguments.policy, &tables)?;
    for table in tables {
        let policy = rules.policy(&table)?;
        plans.push(CapturePlan::for_table(table, policy)?);
    }
    Ok(plans)
}

/// Each once, in the order given.
fn tables(lists: &[String]) -> Result<Vec<TableName>, CliError> {
    let mut tables = Vec::new();
    for name in lists.iter().flat_map(|list| names::split(list)) {
        let table = match name.parts.as_slice() {
            [table] => TableName::new(None, Identifier::new(table)?),
            [schema, table] => {
                TableName::new(Some(Identifier::new(schema)?), Identifier::new(table)?)
            }
            _ => {
                return Err(CliError::Name {
                    flag: "--tables",
                    text: name.text,
                    expected: "`table` or `schema.table`",
                });
            }
        };
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    Ok(tables)
}

/// The policy flags, read.
struct Rules<'a> {
    arguments: &'a PolicyArguments,
    exclude: Vec<Column>,
    mask: Vec<Column>,
    except_columns: Vec<Column>,
    ignore_only: Vec<Column>,
    on_change: Vec<Column>,
}

/// A column of one table, or of all.
struct Column {
    table: Option<TableName>,
    name: Identifier,
}

impl<'a> Rules<'a> {
    fn read(arguments: &'a PolicyArguments, tables: &[TableName]) -> Result<Self, CliError> {
        Ok(Self {
            arguments,
            exclude: columns("--exclude", &arguments.exclude, tables)?,
            mask: columns("--mask", &arguments.mask, tables)?,
            except_columns: columns("--except-columns", &arguments.except_columns, tables)?,
            ignore_only: columns("--ignore-only", &arguments.ignore_only, tables)?,
            on_change: columns("--on-change", &arguments.on_change, tables)?,
        })
    }

    fn policy(&self, table: &TableName) -> Result<Policy, PlanError> {
        Ok(Policy {
            exclude: of(table, &self.exclude),
            mask: of(table, &self.mask),
            placeholder: match &self.arguments.mask_placeholder {
                Some(text) => Placeholder::new(table, text)?,
                None => Placeholder::default(),
            },
            store_changed_from: self.arguments.store_changed_from,
            except_columns: of(table, &self.except_columns),
            ignore_only: of(table, &self.ignore_only),
            on_change: of(table, &self.on_change),
            require_actor: self.arguments.require_actor.map(|actor| match actor {
                Actor::Any => RequireActor::Any,
                Actor::Known => RequireActor::Known,
            }),
            level: match self.arguments.level {
                None | Some(args::Level::Row) => Level::Row,
                Some(args::Level::Statement) => Level::Statement,
            },
            truncate: match self.arguments.truncate {
                None | Some(args::Truncate::Marker) => Truncate::Marker,
                Some(args::Truncate::Rows) => Truncate::Rows,
                Some(args::Truncate::Refuse) => Truncate::Refuse,
            },
        })
    }
}

fn columns(
    flag: &'static str,
    lists: &[String],
    tables: &[TableName],
) -> Result<Vec<Column>, CliError> {
    let mut columns = Vec::new();
    for name in lists.iter().flat_map(|list| names::split(list)) {
        let (schema, table, column) = match name.parts.as_slice() {
            [column] => (None, None, column),
            [table, column] => (None, Some(table), column),
            [schema, table, column] => (Some(schema), Some(table), column),
            _ => {
                return Err(CliError::Name {
                    flag,
                    text: name.text,
                    expected: "`column`, `table.column` or `schema.table.column`",
                });
            }
        };
        let schema = schema.map(Identifier::new).transpose()?;
        let table = table
            .map(|table| Ok::<_, PlanError>(TableName::new(schema, Identifier::new(table)?)))
            .transpose()?;
        if table.as_ref().is_some_and(|table| !tables.contains(table)) {
            return Err(CliError::ColumnOfOtherTable {
                flag,
                text: name.text,
            });
        }
        columns.push(Column {
            table,
            name: Identifier::new(column)?,
        });
    }
    Ok(columns)
}

fn of(table: &TableName, columns: &[Column]) -> Columns {
    columns
        .iter()
        .filter(|column| column.table.as_ref().is_none_or(|only| only == table))
        .map(|column| column.name.clone())
        .collect()
}
