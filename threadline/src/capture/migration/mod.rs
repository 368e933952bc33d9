//! What to write into an application's migrations directory: from values to values, without files, database or clock.
//!
//! Every generated `up.sql` starts with a header of SQL comments that says what it installs. [`Migrations`] reads the
//! headers of what is there, so the directory is the only record of what has been generated: offline, and the same for
//! everyone who has checked it out. The SQL below a header is frozen; rolling back a later migration issues it again.

mod capture;
mod error;
mod header;
mod install;
mod restore;
mod state;
mod step;
mod version;
mod word;

use super::{Identifier, TableName};

pub use capture::Unlisted;
pub use error::MigrationError;
pub use state::Migrations;

/// A migration that the directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// The directory's name, such as `2026-05-04-120000_create_users`.
    pub name: String,
    /// The text of its `up.sql`; empty if it has none.
    pub up_sql: String,
}

/// A migration to write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewMigration {
    /// The directory's name. Its version sorts after every existing one.
    pub name: String,
    /// What it does.
    pub change: Change,
    /// Columns that were redacted so far and are stored in the clear once it has run.
    pub exposed: Vec<Identifier>,
    /// The text of `up.sql`, header included.
    pub up_sql: String,
    /// The text of `down.sql`.
    pub down_sql: String,
}

/// What a migration does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Creates the audit schema.
    Install,
    /// Brings an older audit schema up to date.
    Upgrade,
    /// Begins the capture of a table.
    Capture(TableName),
    /// Captures a table in another way than before.
    Recapture(TableName),
    /// Captures a renamed table, with the history of its former name.
    Rename {
        /// The name that the table was captured under.
        from: TableName,
        /// Its name now.
        to: TableName,
    },
    /// Ends the capture of a table and leaves its history.
    Release(TableName),
}

impl Change {
    /// The part of a directory's name that comes after the version. Only `[a-z0-9_]`, whatever the table is called.
    fn slug(&self) -> String {
        let (verb, table) = match self {
            Self::Install => return "threadline_install".to_owned(),
            Self::Upgrade => return "threadline_upgrade".to_owned(),
            Self::Capture(table) | Self::Recapture(table) | Self::Rename { to: table, .. } => {
                ("capture", table)
            }
            Self::Release(table) => ("release", table),
        };
        let mut slug = format!("threadline_{verb}");
        for word in table
            .to_string()
            .to_ascii_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
        {
            slug.push('_');
            slug.push_str(word);
        }
        slug
    }
}

#[cfg(test)]
mod tests;
