//! The migration of one table.

use super::header::{Capture, Header};
use super::restore::{restore, restore_if_there};
use super::state::Captured;
use super::word::Table;
use super::{Change, MigrationError, NewMigration};
use crate::capture::{CapturePlan, Identifier, Key, Policy, Storage};

/// One table to capture in a way that it isn't captured yet.
pub(super) struct Step<'a> {
    pub(super) plan: &'a CapturePlan,
    pub(super) before: Option<&'a Captured>,
    pub(super) change: Change,
}

impl Step<'_> {
    pub(super) fn migration(self, storage: &Storage, version: String) -> NewMigration {
        let exposed = self.exposed();
        let header = Header::Capture(Capture {
            table: self.plan.table().clone(),
            formerly: match &self.change {
                Change::Rename { from, .. } => Some(from.clone()),
                _ => None,
            },
            fingerprint: self.plan.fingerprint(),
            columns: named_columns(self.plan),
            redacted: redacted_columns(self.plan),
            exposed: exposed.clone(),
            storage: storage.clone(),
        });
        NewMigration {
            name: format!("{version}_{}", self.change.slug()),
            up_sql: header.before(&self.plan.up_sql(storage)),
            down_sql: match self.before {
                Some(before) => restore(self.plan, before),
                None => format!(
                    "-- Ends the capture of {}; its history stays.\n\n{}",
                    Table(self.plan.table()),
                    self.plan.down_sql(storage)
                ),
            },
            change: self.change,
            exposed,
        }
    }

    /// What was redacted before and will not be, under whatever name.
    fn exposed(&self) -> Vec<Identifier> {
        let before = self.before.map(|before| before.capture.redacted.as_slice());
        let now = redacted_columns(self.plan);
        let renamed = |column: &Identifier| {
            self.plan
                .columns_formerly()
                .iter()
                .any(|(new, former)| former == column && now.contains(new))
        };
        before
            .unwrap_or_default()
            .iter()
            .filter(|column| !now.contains(column) && !renamed(column))
            .cloned()
            .collect()
    }
}

/// Ends the capture of a table.
pub(super) fn release(
    captured: &Captured,
    storage: &Storage,
    version: String,
) -> Result<NewMigration, MigrationError> {
    let table = captured.capture.table.clone();
    // Ending a capture depends on the table only, so a plan without a policy does.
    let plan = CapturePlan::for_table(table.clone(), Policy::default()).map_err(|error| {
        MigrationError::Header {
            migration: captured.migration.clone(),
            reason: error.to_string(),
        }
    })?;
    let header = Header::Release {
        table: table.clone(),
    };
    let change = Change::Release(table);
    Ok(NewMigration {
        name: format!("{version}_{}", change.slug()),
        change,
        exposed: Vec::new(),
        up_sql: header.before(&plan.down_sql(storage)),
        down_sql: restore_if_there(captured),
    })
}

/// The columns that a plan names, each once.
fn named_columns(plan: &CapturePlan) -> Vec<Identifier> {
    let key = match plan.key() {
        Key::Columns(key) => key.as_slice(),
        Key::Catalog => &[],
    };
    let policy = plan.policy();
    let mut columns = Vec::new();
    for column in key
        .iter()
        .chain(&policy.exclude)
        .chain(&policy.mask)
        .chain(&policy.except_columns)
        .chain(&policy.ignore_only)
        .chain(&policy.on_change)
    {
        if !columns.contains(column) {
            columns.push(column.clone());
        }
    }
    columns
}

fn redacted_columns(plan: &CapturePlan) -> Vec<Identifier> {
    let policy = plan.policy();
    policy.exclude.union(&policy.mask).cloned().collect()
}
