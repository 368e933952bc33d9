//! The migration that creates or upgrades the audit schema.

use chrono::{DateTime, Utc};

use super::header::Header;
use super::version::Versions;
use super::{Change, MigrationError, Migrations, NewMigration};
use crate::capture::{Identifier, Storage, base};

/// A statement, because Diesel refuses a file that holds comments only.
const NOTHING_TO_UNDO: &str = "\
-- Nothing to undo: the upgrade only added what was missing, and an older Threadline works with it.
SELECT 1;
";

impl Migrations {
    /// Lets the migration that installs the audit schema take CREATE on its schema from PUBLIC first, where installing is
    /// refused otherwise: PostgreSQL 13 and 14 let everyone create objects in `public`.
    ///
    /// # Examples
    ///
    /// ```
    /// use threadline::capture::migration::Migrations;
    ///
    /// let directory = Migrations::read([])?.revoking_create(true);
    /// let new = directory.install(None, None, "2026-05-04T12:00:00Z".parse()?)?.expect("nothing is there yet");
    /// assert!(new.up_sql.contains(r#"REVOKE CREATE ON SCHEMA "public" FROM PUBLIC;"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn revoking_create(mut self, revoke_create: bool) -> Self {
        self.revoke_create = revoke_create;
        self
    }

    /// The migration that installs the audit schema, or adds what an older one lacks; `None` if there is nothing to add.
    ///
    /// Where it is installed already, `None` for the schema or the owner means: as it is.
    ///
    /// # Errors
    ///
    /// [`MigrationError::OtherStorage`] if it is installed in another schema, [`MigrationError::Newer`] if a younger
    /// version of Threadline installed it, [`MigrationError::NoVersionAfter`] if nothing can run after what is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use threadline::capture::migration::{Existing, Migrations};
    ///
    /// let now = "2026-05-04T12:00:00Z".parse()?;
    /// let new = Migrations::read([])?.install(None, None, now)?.expect("nothing is there yet");
    /// assert!(new.up_sql.starts_with("-- threadline: base revision"));
    ///
    /// let there = Migrations::read([Existing { name: new.name, up_sql: new.up_sql }])?;
    /// assert_eq!(there.install(None, None, now)?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn install(
        &self,
        storage: Option<&Storage>,
        owner: Option<&Identifier>,
        now: DateTime<Utc>,
    ) -> Result<Option<NewMigration>, MigrationError> {
        let (change, storage, owner) = match &self.base {
            None => (Change::Install, storage.cloned().unwrap_or_default(), owner),
            Some(installed) => {
                if let Some(asked) = storage.filter(|asked| **asked != installed.storage) {
                    return Err(MigrationError::OtherStorage {
                        migration: installed.migration.clone(),
                        installed: installed.storage.schema().as_str().to_owned(),
                        asked: asked.schema().as_str().to_owned(),
                    });
                }
                installed.refuse_newer()?;
                let owner = owner.or(installed.owner.as_ref());
                if installed.revision == base::REVISION && owner == installed.owner.as_ref() {
                    return Ok(None);
                }
                (Change::Upgrade, installed.storage.clone(), owner)
            }
        };
        let version = Versions::after(&self.newest, now, 1).next()?;
        let sql = base::up_sql_revoking(&storage, owner, self.revoke_create);
        let down_sql = match change {
            Change::Install => base::down_sql(&storage),
            _ => NOTHING_TO_UNDO.to_owned(),
        };
        let header = Header::Base {
            revision: base::REVISION,
            owner: owner.cloned(),
            storage,
        };
        Ok(Some(NewMigration {
            name: format!("{version}_{}", change.slug()),
            change,
            exposed: Vec::new(),
            up_sql: header.before(&sql),
            down_sql,
        }))
    }
}
