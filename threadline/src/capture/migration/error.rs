use thiserror::Error;

/// Why there is no migration to write. Each message names the thing and the next step.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// Nothing installs the audit schema.
    #[error("no migration installs the audit schema; run `threadline install` first")]
    NotInstalled,
    /// The audit schema is older than the SQL that would be generated for it.
    #[error(
        "`{migration}` installs revision {installed} of the audit schema and capture needs {needed}; run `threadline install` first, which adds what is missing"
    )]
    Outdated {
        /// The newest base migration.
        migration: String,
        /// Its revision.
        installed: u32,
        /// The revision of this version of Threadline.
        needed: u32,
    },
    /// The audit schema comes from a younger version of Threadline.
    #[error(
        "`{migration}` installs revision {installed} of the audit schema and this version of threadline knows {known}; update threadline"
    )]
    Newer {
        /// The newest base migration.
        migration: String,
        /// Its revision.
        installed: u32,
        /// The revision of this version of Threadline.
        known: u32,
    },
    /// The audit schema stands in another schema of the database.
    #[error(
        "`{migration}` installs the audit tables in schema `{installed}`, not in `{asked}`; leave `--schema` out, since moving an audit log is not a matter of a migration"
    )]
    OtherStorage {
        /// The migration that installs it.
        migration: String,
        /// The schema that it is in.
        installed: String,
        /// The schema that was asked for.
        asked: String,
    },
    /// A header that can't be read.
    #[error(
        "`{migration}/up.sql` has a threadline header that can't be read: {reason}; restore the file from version control, or update threadline if a younger version wrote it"
    )]
    Header {
        /// The migration.
        migration: String,
        /// What is wrong with it.
        reason: String,
    },
    /// One table in the list of plans twice; a table without a schema is the same as one in `public`.
    #[error("table `{table}` is in the list twice; keep one of the two")]
    ListedTwice {
        /// The table.
        table: String,
    },
    /// No version that Diesel can store sorts after the newest one.
    #[error(
        "no version that sorts after migration `{migration}` fits the 50 characters that Diesel has for it; give that migration a timestamp for its version"
    )]
    NoVersionAfter {
        /// The newest migration.
        migration: String,
    },
}
