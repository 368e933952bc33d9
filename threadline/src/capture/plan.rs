//! The validated description of how one table is captured.

use super::policy::{Placeholder, Policy, columns};
use super::{Identifier, PlanError, TableName};
use crate::definition::Definition;

/// The five tables of the log, which never record themselves.
const OWN_TABLES: [&str; 5] = [
    "audit_changes",
    "audit_transactions",
    "audit_actions",
    "audit_commits",
    "audit_tables",
];

/// Where the key of a table is known from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The columns that the model declares, in order; never empty.
    Columns(Vec<Identifier>),
    /// The primary key, read from the catalog when the migration runs.
    Catalog,
}

/// How one table is captured: validated, pure data, and all that the generated SQL depends on.
///
/// # Examples
///
/// ```
/// use threadline::capture::{CapturePlan, Policy, columns};
///
/// let policy = Policy { mask: columns(["ssn"])?, ..Policy::default() };
/// let plan = CapturePlan::for_table("users".parse()?, policy)?;
/// assert!(plan.up_sql(&Default::default()).contains("ssn"));
/// # Ok::<(), threadline::capture::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturePlan {
    table: TableName,
    key: Key,
    policy: Policy,
    formerly: Vec<Identifier>,
    columns_formerly: Vec<(Identifier, Identifier)>,
}

impl CapturePlan {
    /// A plan for a table without a model; its primary key is read when the migration runs.
    ///
    /// # Errors
    ///
    /// [`PlanError`] if the policy contradicts itself or the table is Threadline's own.
    pub fn for_table(table: TableName, policy: Policy) -> Result<Self, PlanError> {
        Self {
            table,
            key: Key::Catalog,
            policy,
            formerly: Vec::new(),
            columns_formerly: Vec::new(),
        }
        .validated()
    }

    /// The plan that a model's definition asks for.
    ///
    /// # Errors
    ///
    /// [`PlanError`] if the definition contradicts itself or the table is Threadline's own.
    pub fn for_definition(table: TableName, definition: &Definition) -> Result<Self, PlanError> {
        let key = definition
            .key
            .iter()
            .map(|column| Identifier::new(*column))
            .collect::<Result<Vec<_>, _>>()?;
        if key.is_empty() {
            return Err(PlanError::NoKey {
                table: table.to_string(),
            });
        }
        let placeholder = match definition.mask_placeholder {
            Some(text) => Placeholder::new(&table, text)?,
            None => Placeholder::default(),
        };
        let policy = Policy {
            exclude: columns(definition.exclude.iter().copied())?,
            mask: columns(definition.mask.iter().copied())?,
            placeholder,
            store_changed_from: definition.store_changed_from,
            except_columns: columns(definition.except_columns.iter().copied())?,
            ignore_only: columns(definition.ignore_only.iter().copied())?,
            on_change: columns(definition.on_change.iter().copied())?,
            require_actor: definition.require_actor,
            level: definition.level,
            truncate: definition.truncate,
        };
        Self {
            table,
            key: Key::Columns(key),
            policy,
            formerly: definition
                .formerly
                .iter()
                .map(|name| Identifier::new(*name))
                .collect::<Result<_, _>>()?,
            columns_formerly: definition
                .columns_formerly
                .iter()
                .map(|(now, then)| Ok((Identifier::new(*now)?, Identifier::new(*then)?)))
                .collect::<Result<_, PlanError>>()?,
        }
        .validated()
    }

    fn validated(self) -> Result<Self, PlanError> {
        // A table of another schema may have such a name: where the log is, knows the migration.
        let schema = self.table.schema().map(Identifier::as_str);
        if matches!(schema, None | Some("public"))
            && OWN_TABLES.contains(&self.table.name().as_str())
        {
            return Err(PlanError::OwnTable {
                table: self.table.to_string(),
            });
        }
        let key = match &self.key {
            Key::Columns(key) => key.as_slice(),
            Key::Catalog => &[],
        };
        self.policy.validate(&self.table, key)?;
        Ok(self)
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// Where its key is known from.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What is recorded of its rows.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Former names of the table, newest first.
    #[must_use]
    pub fn formerly(&self) -> &[Identifier] {
        &self.formerly
    }

    /// Former names of columns: (column, former name).
    #[must_use]
    pub fn columns_formerly(&self) -> &[(Identifier, Identifier)] {
        &self.columns_formerly
    }
}
