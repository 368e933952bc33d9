//! C34: installing twice, regenerating and rolling back, by code; Diesel's command line has tests of its own.

mod back;
mod files;
mod twice;

use std::fs;
use std::path::{Path, PathBuf};

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use serde_json::{Value, json};
use tempfile::TempDir;
use threadline::capture::migration::{Existing, Migrations, NewMigration, Unlisted};
use threadline::capture::{CapturePlan, Identifier, Policy, Storage, base, columns};
use threadline::{Definition, MIGRATIONS};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

const NOTES: &str = "CREATE TABLE notes (id int PRIMARY KEY, text text)";

/// Everything in `public` but Diesel's own table: its name, and the oid under which it is known.
const CATALOG: &str = "
    SELECT 'relation ' || oid::regclass AS name, oid::bigint FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'function ' || oid::regprocedure, oid::bigint FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'trigger ' || tgname || ' of ' || tgrelid::regclass, t.oid::bigint
        FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'constraint ' || conname || ' of ' || conrelid::regclass, oid::bigint
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'column ' || attname || ' of ' || attrelid::regclass, NULL
        FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT 'right ' || acl || ' on ' || relname, NULL
        FROM pg_class, unnest(relacl::text[]) acl WHERE relnamespace = 'public'::regnamespace";

fn catalog(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.owner(),
        &format!(
            "SELECT name, oid FROM ({CATALOG}) q WHERE name NOT LIKE '%\\_\\_diesel%' ORDER BY name"
        ),
    )
}

fn log(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.owner(),
        "SELECT c.*, t.actor_ref FROM audit_changes c JOIN audit_transactions t ON t.id = c.transaction_id ORDER BY c.id",
    )
}

fn base_sql() -> String {
    base::up_sql(&Storage::default(), None)
}

fn plan(table: &str, policy: Policy) -> CapturePlan {
    CapturePlan::for_table(table.parse().unwrap(), policy).unwrap()
}
