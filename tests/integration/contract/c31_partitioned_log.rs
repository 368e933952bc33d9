//! C31 on a log that was partitioned by its owner: every partition is guarded.

use diesel::prelude::*;
use threadline_tests::{TestDb, execute, try_execute, value};

use super::log::lines;

/// A log whose changes are partitioned by their number, with one change in it.
fn partitioned_log() -> TestDb {
    let db = TestDb::new();
    execute(
        &mut db.owner(),
        "ALTER TABLE audit_changes RENAME TO audit_changes_first;
         CREATE TABLE audit_changes (LIKE audit_changes_first INCLUDING DEFAULTS) PARTITION BY RANGE (id);
         ALTER TABLE audit_changes ATTACH PARTITION audit_changes_first FOR VALUES FROM (MINVALUE) TO (100);
         CREATE TABLE audit_changes_second PARTITION OF audit_changes FOR VALUES FROM (100) TO (MAXVALUE);
         ALTER SEQUENCE audit_changes_id_seq OWNED BY audit_changes.id;
         GRANT SELECT ON audit_changes TO threadline_reader;
         GRANT SELECT, DELETE ON audit_changes TO threadline_retention;
         SELECT threadline_protect_v1()",
    );
    db.audited("items", "CREATE TABLE items (id bigint PRIMARY KEY)");
    execute(&mut db.app(), "INSERT INTO items VALUES (1)");
    execute(
        &mut db.superuser(),
        "SELECT setval('audit_changes_id_seq', 100)",
    );
    execute(&mut db.app(), "INSERT INTO items VALUES (2)");
    db
}

const TABLES: [&str; 3] = [
    "audit_changes",
    "audit_changes_first",
    "audit_changes_second",
];

fn assert_refused(conn: &mut PgConnection, sql: &str) {
    let error = try_execute(conn, sql).expect_err(sql);
    assert!(error.contains("is append-only"), "{sql}: {error}");
}

#[test]
fn c31_every_partition_is_append_only() {
    let db = partitioned_log();
    for mut conn in [db.owner(), db.superuser()] {
        for table in TABLES {
            assert_refused(&mut conn, &format!("UPDATE {table} SET op = 'delete'"));
            assert_refused(&mut conn, &format!("DELETE FROM {table}"));
            assert_refused(&mut conn, &format!("TRUNCATE {table}"));
        }
    }
    assert_eq!(lines(&db, "items"), ["insert 1", "insert 2"]);
}

/// TRUNCATE triggers are not inherited.
#[test]
fn c31_a_later_partition_is_guarded_once_protected_again() {
    let db = partitioned_log();
    let mut owner = db.owner();
    execute(
        &mut owner,
        "ALTER TABLE audit_changes DETACH PARTITION audit_changes_second;
         CREATE TABLE audit_changes_third PARTITION OF audit_changes FOR VALUES FROM (100) TO (200)",
    );
    execute(&mut db.app(), "INSERT INTO items VALUES (3)");
    assert_refused(&mut owner, "DELETE FROM audit_changes_third");
    execute(&mut owner, "SELECT threadline_protect_v1()");
    assert_refused(&mut owner, "TRUNCATE audit_changes_third");
    let guards = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'audit_changes_third'::regclass";
    assert_eq!(value(&mut owner, guards), 2);
}

#[test]
fn c31_retention_deletes_from_a_partitioned_log() {
    let db = partitioned_log();
    execute(
        &mut db.superuser(),
        "SET ROLE threadline_retention; DELETE FROM audit_changes WHERE id < 100",
    );
    assert_eq!(lines(&db, "items"), ["insert 2"]);
}

#[test]
fn c31_history_is_read_across_partitions() {
    let db = partitioned_log();
    execute(&mut db.app(), "UPDATE items SET id = 3 WHERE id = 1");
    let found = "SELECT jsonb_agg(op ORDER BY id) FROM threadline_history('items', '{\"id\": 1}')";
    assert_eq!(
        value(&mut db.auditor(), found),
        serde_json::json!(["insert", "delete"])
    );
}
