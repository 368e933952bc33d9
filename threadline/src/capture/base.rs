//! The audit schema that `threadline install` puts into an application's migrations.

use super::{Identifier, Storage};

/// Rises with every change of the base SQL.
pub const REVISION: u32 = 1;

/// Creates the audit schema, or adds what an older one lacks.
#[must_use]
pub fn up_sql(storage: &Storage, owner: Option<&Identifier>) -> String {
    let owner = owner.map_or_else(String::new, |owner| format!("SET ROLE {owner};\n"));
    format!(
        "{owner}CREATE TABLE IF NOT EXISTS {}.audit_changes ();\n",
        storage.0
    )
}

/// Drops the audit schema.
#[must_use]
pub fn down_sql(storage: &Storage) -> String {
    format!("DROP TABLE {}.audit_changes;\n", storage.0)
}
