//! C30: capture runs as the owner of the log, and only what Threadline wrote runs with it.

mod decoys;
mod forgery;
mod rights;

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::Definition;
use threadline_tests::{TestDb, execute, rows, try_execute, value};

/// `users` is captured; the application may create functions in `public`, as up to PostgreSQL 14.
fn users() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "users",
        "CREATE TABLE users (id bigint PRIMARY KEY, name text, n numeric)",
    );
    execute(
        &mut db.superuser(),
        "GRANT CREATE ON SCHEMA public TO tl_app",
    );
    db
}

fn captured(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT op, table_pk ->> 'id' AS id FROM audit_changes c ORDER BY c.id",
    )
}

fn refused(conn: &mut PgConnection, sql: &str, reason: &str) {
    let error = try_execute(conn, sql).expect_err(sql);
    assert!(error.contains(reason), "{sql}: {error}");
}
