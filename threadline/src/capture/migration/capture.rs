//! The migrations that bring the captured tables to their plans.

use chrono::{DateTime, Utc};

use super::state::{Base, Captured, same};
use super::step::{Step, release};
use super::version::Versions;
use super::{Change, MigrationError, Migrations, NewMigration};
use crate::capture::{CapturePlan, TableName, base};

/// What becomes of tables that are captured and have no plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unlisted {
    /// They stay captured: a plan may be missing because nobody listed the model.
    #[default]
    Keep,
    /// Their capture ends; their history stays.
    Release,
}

impl Migrations {
    /// The migrations that capture what the plans ask for, one for each table that isn't captured that way yet; none if
    /// nothing changed.
    ///
    /// One migration a table, because each waits for a lock on its table, and writers of one should not wait for two.
    ///
    /// # Errors
    ///
    /// [`MigrationError::NotInstalled`], [`MigrationError::Outdated`] or [`MigrationError::Newer`] if the audit schema
    /// isn't there or isn't the one that this version of Threadline knows, [`MigrationError::ListedTwice`] if two plans
    /// are for one table, [`MigrationError::NoVersionAfter`] if nothing can run after what is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use threadline::capture::migration::{MigrationError, Migrations, Unlisted};
    ///
    /// let now = "2026-05-04T12:00:00Z".parse()?;
    /// let empty = Migrations::read([])?;
    /// assert_eq!(empty.generate(&[], Unlisted::Keep, now), Err(MigrationError::NotInstalled));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn generate(
        &self,
        plans: &[CapturePlan],
        unlisted: Unlisted,
        now: DateTime<Utc>,
    ) -> Result<Vec<NewMigration>, MigrationError> {
        refuse_twice(plans)?;
        let storage = &self.current_base()?.storage;
        let renamed = self.all_renamed(plans);
        let mut steps: Vec<_> = plans
            .iter()
            .filter_map(|plan| self.step(plan, &renamed))
            .collect();
        // A former name may belong to a new table by now: the renamed one has to leave it first.
        steps.sort_by_key(|step| !matches!(step.change, Change::Rename { .. }));

        let released: Vec<_> = match unlisted {
            Unlisted::Release => self.without_plan(plans).collect(),
            Unlisted::Keep => Vec::new(),
        };
        let mut versions = Versions::after(&self.newest, now, steps.len() + released.len());
        let mut migrations = Vec::new();
        for step in steps {
            migrations.push(step.migration(storage, versions.next()?));
        }
        for captured in released {
            migrations.push(release(captured, storage, versions.next()?)?);
        }
        Ok(migrations)
    }

    /// The tables that are captured and that no plan is for.
    ///
    /// # Examples
    ///
    /// ```
    /// use threadline::capture::migration::{Existing, Migrations};
    ///
    /// let captured = Existing {
    ///     name: "2026-05-04-120001_threadline_capture_users".to_owned(),
    ///     up_sql: "-- threadline: capture users\n-- fingerprint: 00\n-- storage: public\n".to_owned(),
    /// };
    /// let migrations = Migrations::read([captured])?;
    /// let unlisted: Vec<_> = migrations.unlisted(&[]).map(ToString::to_string).collect();
    /// assert_eq!(unlisted, ["users"]);
    /// # Ok::<(), threadline::capture::migration::MigrationError>(())
    /// ```
    pub fn unlisted<'a>(&'a self, plans: &'a [CapturePlan]) -> impl Iterator<Item = &'a TableName> {
        self.without_plan(plans)
            .map(|captured| &captured.capture.table)
    }

    fn without_plan<'a>(&'a self, plans: &'a [CapturePlan]) -> impl Iterator<Item = &'a Captured> {
        let renamed = self.all_renamed(plans);
        self.tables.iter().filter(move |captured| {
            let is = |table: &TableName| same(&captured.capture.table, table);
            !plans.iter().any(|plan| is(plan.table())) && !renamed.iter().copied().any(is)
        })
    }

    /// The tables that plans are for under another name.
    fn all_renamed(&self, plans: &[CapturePlan]) -> Vec<&TableName> {
        let renamed = plans.iter().filter_map(|plan| self.renamed(plan));
        renamed.map(|former| &former.capture.table).collect()
    }

    fn current_base(&self) -> Result<&Base, MigrationError> {
        let base = self.base.as_ref().ok_or(MigrationError::NotInstalled)?;
        base.refuse_newer()?;
        if base.revision < base::REVISION {
            return Err(MigrationError::Outdated {
                migration: base.migration.clone(),
                installed: base.revision,
                needed: base::REVISION,
            });
        }
        Ok(base)
    }

    /// What has to change for one plan, if anything has.
    fn step<'a>(&'a self, plan: &'a CapturePlan, renamed: &[&TableName]) -> Option<Step<'a>> {
        let to = plan.table().clone();
        if let Some(former) = self.renamed(plan) {
            let from = former.capture.table.clone();
            return Some(Step {
                plan,
                before: Some(former),
                change: Change::Rename { from, to },
            });
        }
        let left_behind = |captured: &&Captured| {
            renamed
                .iter()
                .any(|former| same(&captured.capture.table, former))
        };
        match self.captured(&to).filter(|captured| !left_behind(captured)) {
            Some(before) if before.capture.fingerprint == plan.fingerprint() => None,
            before => Some(Step {
                plan,
                before,
                change: match before {
                    Some(_) => Change::Recapture(to),
                    None => Change::Capture(to),
                },
            }),
        }
    }

    /// The capture under a former name of the plan's table, until it is captured under its own.
    fn renamed(&self, plan: &CapturePlan) -> Option<&Captured> {
        if self.captured(plan.table()).is_some() {
            return None;
        }
        plan.formerly().iter().find_map(|name| {
            self.captured(&TableName::new(
                plan.table().schema().cloned(),
                name.clone(),
            ))
        })
    }
}

fn refuse_twice(plans: &[CapturePlan]) -> Result<(), MigrationError> {
    for (at, plan) in plans.iter().enumerate() {
        if plans[..at]
            .iter()
            .any(|other| same(other.table(), plan.table()))
        {
            return Err(MigrationError::ListedTwice {
                table: plan.table().to_string(),
            });
        }
    }
    Ok(())
}
