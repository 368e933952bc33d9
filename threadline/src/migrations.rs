//! The audit schema, embedded.

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// The audit schema as Diesel migrations, for tests and for applications without the Diesel CLI.
///
/// The storage schema is `public`. Applications that migrate with the Diesel CLI copy the schema into their own
/// directory with `threadline install` instead: `diesel migration revert` and `redo` only know what is there.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");
