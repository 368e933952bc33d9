//! What the generated migrations of a directory install, one after the other.

use super::header::{self, Capture, Header};
use super::version::version_of;
use super::{Existing, MigrationError};
use crate::capture::{Identifier, Storage, TableName, base};

/// A migrations directory as Threadline sees it.
///
/// # Examples
///
/// ```
/// use threadline::capture::migration::{Existing, Migrations, Unlisted};
/// use threadline::capture::{CapturePlan, Policy};
///
/// let now = "2026-05-04T12:00:00Z".parse()?;
/// let install = Migrations::read([])?.install(None, None, now)?.expect("nothing is there yet");
/// assert_eq!(install.name, "2026-05-04-120000_threadline_install");
///
/// let there = [Existing { name: install.name, up_sql: install.up_sql }];
/// let plan = CapturePlan::for_table("users".parse()?, Policy::default())?;
/// let capture = Migrations::read(there)?.generate(&[plan], Unlisted::Keep, now)?;
/// assert_eq!(capture[0].name, "2026-05-04-120001_threadline_capture_users");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Migrations {
    /// The name of the migration that Diesel runs last.
    pub(super) newest: String,
    pub(super) base: Option<Base>,
    pub(super) tables: Vec<Captured>,
    /// Whether what is installed takes CREATE on the storage schema from PUBLIC.
    pub(super) revoke_create: bool,
}

/// The audit schema, as the newest migration about it leaves it.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) migration: String,
    pub(super) revision: u32,
    pub(super) storage: Storage,
    pub(super) owner: Option<Identifier>,
}

/// A captured table, as the newest migration about it leaves it.
#[derive(Debug, Clone)]
pub(super) struct Captured {
    pub(super) migration: String,
    pub(super) capture: Capture,
    /// The SQL below the header, which brings this capture back.
    pub(super) sql: String,
}

impl Migrations {
    /// Reads the headers of generated migrations; others count for the order of versions only.
    ///
    /// # Errors
    ///
    /// [`MigrationError::Header`] if a header is damaged or newer than this version of Threadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use threadline::capture::migration::{Existing, MigrationError, Migrations};
    ///
    /// let damaged = Existing {
    ///     name: "2026-05-04-120001_threadline_capture_users".to_owned(),
    ///     up_sql: "-- threadline: capture users\n".to_owned(),
    /// };
    /// assert!(matches!(Migrations::read([damaged]), Err(MigrationError::Header { .. })));
    /// ```
    pub fn read(existing: impl IntoIterator<Item = Existing>) -> Result<Self, MigrationError> {
        let mut existing: Vec<_> = existing.into_iter().collect();
        existing.sort_by_cached_key(|migration| version_of(&migration.name));
        let mut read = Self::default();
        for Existing { name, up_sql } in existing {
            let parts = header::split(&up_sql).map_err(|reason| MigrationError::Header {
                migration: name.clone(),
                reason,
            })?;
            if let Some((header, sql)) = parts {
                read.apply(&name, header, sql);
            }
            read.newest = name;
        }
        Ok(read)
    }

    fn apply(&mut self, migration: &str, header: Header, sql: &str) {
        match header {
            Header::Base {
                revision,
                storage,
                owner,
            } => {
                self.base = Some(Base {
                    migration: migration.to_owned(),
                    revision,
                    storage,
                    owner,
                });
            }
            Header::Capture(capture) => {
                self.forget(&capture.table);
                if let Some(former) = &capture.formerly {
                    self.forget(former);
                }
                self.tables.push(Captured {
                    migration: migration.to_owned(),
                    capture,
                    sql: sql.to_owned(),
                });
            }
            Header::Release { table } => self.forget(&table),
        }
    }

    fn forget(&mut self, table: &TableName) {
        self.tables
            .retain(|captured| !same(&captured.capture.table, table));
    }

    /// The capture of the table that the migrations leave in place.
    pub(super) fn captured(&self, table: &TableName) -> Option<&Captured> {
        self.tables
            .iter()
            .find(|captured| same(&captured.capture.table, table))
    }
}

impl Base {
    /// What a younger version installed may lack what this one's SQL calls.
    pub(super) fn refuse_newer(&self) -> Result<(), MigrationError> {
        if self.revision > base::REVISION {
            return Err(MigrationError::Newer {
                migration: self.migration.clone(),
                installed: self.revision,
                known: base::REVISION,
            });
        }
        Ok(())
    }
}

/// Whether two names mean one table. Diesel leaves `public` out of a table's name and people write it.
pub(super) fn same(one: &TableName, other: &TableName) -> bool {
    fn schema(table: &TableName) -> &str {
        table.schema().map_or("public", Identifier::as_str)
    }
    one.name() == other.name() && schema(one) == schema(other)
}
