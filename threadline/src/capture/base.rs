//! The audit schema, as `threadline install` writes it into an application's migrations.

use super::render::fill;
use super::{Identifier, Literal, Storage};

/// Rises with every change of the base SQL.
pub const REVISION: u32 = 1;

/// The migrations of the audit schema, in order: up and down.
const PARTS: [(&str, &str); 14] = [
    (
        include_str!("../../migrations/2026-01-01-000001_threadline_tables/up.sql"),
        include_str!("../../migrations/2026-01-01-000001_threadline_tables/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000002_threadline_transaction/up.sql"),
        include_str!("../../migrations/2026-01-01-000002_threadline_transaction/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000003_threadline_action/up.sql"),
        include_str!("../../migrations/2026-01-01-000003_threadline_action/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000004_threadline_change/up.sql"),
        include_str!("../../migrations/2026-01-01-000004_threadline_change/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000005_threadline_image/up.sql"),
        include_str!("../../migrations/2026-01-01-000005_threadline_image/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000006_threadline_check/up.sql"),
        include_str!("../../migrations/2026-01-01-000006_threadline_check/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000007_threadline_identity/up.sql"),
        include_str!("../../migrations/2026-01-01-000007_threadline_identity/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000008_threadline_policy/up.sql"),
        include_str!("../../migrations/2026-01-01-000008_threadline_policy/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000009_threadline_protect/up.sql"),
        include_str!("../../migrations/2026-01-01-000009_threadline_protect/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000010_threadline_read/up.sql"),
        include_str!("../../migrations/2026-01-01-000010_threadline_read/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000011_threadline_moment/up.sql"),
        include_str!("../../migrations/2026-01-01-000011_threadline_moment/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000012_threadline_timeline/up.sql"),
        include_str!("../../migrations/2026-01-01-000012_threadline_timeline/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000013_threadline_revert/up.sql"),
        include_str!("../../migrations/2026-01-01-000013_threadline_revert/down.sql"),
    ),
    (
        include_str!("../../migrations/2026-01-01-000014_threadline_ddl/up.sql"),
        include_str!("../../migrations/2026-01-01-000014_threadline_ddl/down.sql"),
    ),
];

/// Creates a storage schema that isn't `public`. Everyone may look into it: the tables and functions have rights of
/// their own, and recording an action needs no other.
const SCHEMA: &str =
    "CREATE SCHEMA IF NOT EXISTS :storage;\nGRANT USAGE ON SCHEMA :storage TO PUBLIC;\n\n";

/// Keeps others from planting objects beside the log: the default of PostgreSQL 13 and 14 lets everyone.
const REVOKE_CREATE: &str = "\
-- Who may create objects beside the log can make them run as its owner.
REVOKE CREATE ON SCHEMA :storage FROM PUBLIC;\n\n";

/// Makes sure that there is a role for the log, which nobody logs in as. The last part hands everything to it.
const OWNER: &str = include_str!("owner.sql");

/// Creates the audit schema, or adds what an older one lacks. With an `owner`, everything belongs to that role, which
/// is created without LOGIN if it doesn't exist.
///
/// # Examples
///
/// ```
/// use threadline::capture::{Storage, base};
///
/// let sql = base::up_sql(&Storage::new("audit")?, None);
/// assert!(sql.contains(r#"CREATE TABLE IF NOT EXISTS "audit".audit_changes"#));
/// # Ok::<(), threadline::capture::PlanError>(())
/// ```
#[must_use]
pub fn up_sql(storage: &Storage, owner: Option<&Identifier>) -> String {
    up_sql_revoking(storage, owner, false)
}

/// As [`up_sql`]; with `revoke_create`, takes the right to create objects in the schema from PUBLIC first.
pub(super) fn up_sql_revoking(
    storage: &Storage,
    owner: Option<&Identifier>,
    revoke_create: bool,
) -> String {
    let filled = |sql: &str| {
        fill(sql, |name| match name {
            "storage" => Some(storage.schema().to_string()),
            "owner" => owner.map(|owner| Literal(owner.as_str()).to_string()),
            _ => None,
        })
    };
    let mut sql = String::new();
    if *storage != Storage::default() {
        sql.push_str(&filled(SCHEMA));
    }
    if revoke_create {
        sql.push_str(&filled(REVOKE_CREATE));
    }
    if owner.is_some() {
        sql.push_str(&filled(OWNER));
    }
    let parts: Vec<_> = PARTS.iter().map(|(up, _)| relocated(up, storage)).collect();
    sql + &parts.join("\n")
}

/// Drops the audit schema; refused by the server while it holds anything or captures a table.
#[must_use]
pub fn down_sql(storage: &Storage) -> String {
    let parts: Vec<_> = PARTS
        .iter()
        .rev()
        .map(|(_, down)| relocated(down, storage))
        .collect();
    parts.join("\n")
}

/// The SQL for another storage schema. [`Storage`] admits plain names only, so the quoted name is safe in code, in
/// literals and in format strings alike.
fn relocated(sql: &str, storage: &Storage) -> String {
    if *storage == Storage::default() {
        return sql.to_owned();
    }
    let schema = storage.schema().to_string();
    sql.replace("public.", &format!("{schema}."))
        .replace("'public'", &format!("'{schema}'"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::capture::{CapturePlan, Policy};
    use crate::definition::Level;

    /// A database in another encoding than UTF-8 refuses characters that it doesn't have, in comments too.
    #[test]
    fn all_sql_is_ascii() {
        let storage = Storage::default();
        let owner = Identifier::new("threadline_owner").unwrap();
        let mut texts = vec![
            up_sql_revoking(&storage, Some(&owner), true),
            down_sql(&storage),
        ];
        for level in [Level::Row, Level::Statement] {
            let policy = Policy {
                level,
                ..Policy::default()
            };
            let plan = CapturePlan::for_table("users".parse().unwrap(), policy).unwrap();
            texts.push(plan.up_sql(&storage));
        }
        for text in texts {
            let beyond: Vec<_> = text.lines().filter(|line| !line.is_ascii()).collect();
            assert!(beyond.is_empty(), "{beyond:#?}");
        }
    }
}
