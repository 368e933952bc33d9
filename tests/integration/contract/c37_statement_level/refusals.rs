//! Tables that statement triggers can't serve, and tables that change their level.

use serde_json::json;
use threadline::Level;
use threadline_tests::{TestDb, execute, rows, value};

use super::super::log::{assert_newest_images_equal_table, lines};
use super::{ITEM, items};

/// The refusal leaves nothing behind, and the application writes on.
fn refused(create: &str, table: &str, write: &str) -> String {
    let db = TestDb::new();
    db.create(create);
    let error = db
        .try_capture(table, ITEM.level(Level::Statement))
        .unwrap_err()
        .to_string();
    let left = "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname ~ '^[!~]threadline')
        + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'threadline\\_capture\\_%' AND proname <> 'threadline_capture_v1')
        + (SELECT count(*) FROM audit_tables)";
    assert_eq!(value(&mut db.owner(), left), 0);
    execute(&mut db.app(), write);
    error
}

#[test]
fn c37_a_partitioned_table_is_refused() {
    let error = refused(
        "CREATE TABLE items (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE items_low PARTITION OF items FOR VALUES FROM (0) TO (100)",
        "items",
        "INSERT INTO items VALUES (1)",
    );
    assert!(
        error.contains("table public.items is partitioned and can't be captured by statement"),
        "{error}"
    );
    assert!(error.contains("Take level = statement away"), "{error}");
}

#[test]
fn c37_parents_and_children_of_inheritance_are_refused() {
    for (table, reason) in [
        ("items", "has tables that inherit from it"),
        ("special_items", "takes part in inheritance"),
    ] {
        let error = refused(
            "CREATE TABLE items (id bigint PRIMARY KEY);
             CREATE TABLE special_items (PRIMARY KEY (id)) INHERITS (items)",
            table,
            &format!("INSERT INTO {table} VALUES (1)"),
        );
        assert!(error.contains(reason), "{error}");
    }
}

fn triggers(db: &TestDb) -> Vec<String> {
    let names = rows(
        &mut db.owner(),
        "SELECT tgname::text AS name FROM pg_trigger WHERE tgrelid = 'items'::regclass ORDER BY tgname::text COLLATE \"C\"",
    );
    names
        .iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect()
}

const BY_STATEMENT: [&str; 4] = [
    "!threadline_delete",
    "!threadline_insert",
    "!threadline_truncate",
    "!threadline_update",
];

#[test]
fn c37_a_table_changes_its_level_and_keeps_its_history() {
    let db = items("name text");
    let mut app = db.app();
    assert_eq!(triggers(&db), BY_STATEMENT);
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    db.capture("items", ITEM);
    assert_eq!(triggers(&db), ["!threadline", "!threadline_truncate"]);
    execute(&mut app, "UPDATE items SET name = 'b'");
    db.capture("items", ITEM.level(Level::Statement));
    assert_eq!(triggers(&db), BY_STATEMENT);
    execute(&mut app, "UPDATE items SET name = 'c'; TRUNCATE items");
    assert_eq!(
        lines(&db, "items"),
        ["insert 1", "update 1", "update 1", "truncate"]
    );
    let known = rows(
        &mut db.auditor(),
        "SELECT count(DISTINCT table_id) AS tables, (SELECT count(*) FROM audit_tables WHERE horizon IS NOT NULL AND gaps = '{}') AS whole FROM audit_changes",
    );
    assert_eq!(known, [json!({"tables": 1, "whole": 1})]);
}

#[test]
fn c37_the_plan_in_force_again_leaves_the_triggers_alone() {
    let db = items("name text");
    let oids =
        "SELECT jsonb_agg(oid ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'items'::regclass";
    let before = value(&mut db.owner(), oids);
    db.capture("items", ITEM.level(Level::Statement).mask(&["name"]));
    assert_eq!(value(&mut db.owner(), oids), before);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    let stored = "SELECT data_after ->> 'name' FROM audit_changes";
    assert_eq!(value(&mut db.auditor(), stored), "[REDACTED]");
}

/// A table whose history began at row level, with rows in it: the first statement after it is recorded whole.
#[test]
fn c37_rows_from_before_are_recorded_with_their_next_write() {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'a'), (2, 'b')");
    db.capture("items", ITEM.level(Level::Statement));
    execute(&mut db.app(), "UPDATE items SET name = name || '!'");
    assert_eq!(lines(&db, "items"), ["update 1", "update 2"]);
    assert_newest_images_equal_table(&db, "items");
}
