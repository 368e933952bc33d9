use diesel::prelude::*;
use threadline::Definition;
use threadline_tests::{TestDb, execute, rows, try_execute, value};

use super::log::{assert_newest_images_equal_table, lines};

diesel::table! {
    items (id) { id -> BigInt, name -> Nullable<Text>, parent_id -> Nullable<BigInt>, }
}

fn items() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text, parent_id bigint)",
    );
    db
}

/// Fails without any of INSERT, UPDATE and DELETE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_single_statements_are_captured() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(&mut app, "UPDATE items SET name = 'b' WHERE id = 1");
    execute(&mut app, "DELETE FROM items WHERE id = 1");
    assert_eq!(lines(&db, "items"), ["insert 1", "update 1", "delete 1"]);
}

/// Fails without INSERT, and without SECURITY DEFINER on the function, in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_writing_needs_no_right_on_the_log() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    for table in [
        "audit_changes",
        "audit_transactions",
        "audit_commits",
        "audit_tables",
    ] {
        let refused = try_execute(&mut app, &format!("SELECT FROM {table}")).unwrap_err();
        assert!(refused.contains("permission denied"), "{refused}");
    }
    assert_eq!(lines(&db, "items"), ["insert 1"]);
}

/// Fails without INSERT in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_a_change_is_part_of_the_writers_transaction() {
    let db = items();
    let (mut app, mut auditor) = (db.app(), db.auditor());
    let count = "SELECT count(*) FROM audit_changes";
    execute(&mut app, "BEGIN");
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    assert_eq!(
        value(&mut auditor, count),
        0,
        "not before the row is visible"
    );
    execute(&mut app, "COMMIT");
    assert_eq!(value(&mut auditor, count), 1);
}

/// Fails without any of INSERT, UPDATE and DELETE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_bulk_writes_are_captured() {
    let db = items();
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items SELECT n FROM generate_series(1, 500) n",
    );
    execute(&mut app, "UPDATE items SET name = 'b'");
    execute(&mut app, "DELETE FROM items");
    let per_op = rows(
        &mut db.auditor(),
        "SELECT op, count(*), count(DISTINCT table_pk) AS rows FROM audit_changes GROUP BY op ORDER BY op",
    );
    let expected = ["delete", "insert", "update"]
        .map(|op| serde_json::json!({"op": op, "count": 500, "rows": 500}));
    assert_eq!(per_op, expected);
}

/// Fails without INSERT or without UPDATE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_on_conflict_do_update_is_captured() {
    let db = items();
    let mut app = db.app();
    let upsert = "INSERT INTO items VALUES (1, 'a'), (2, 'a') ON CONFLICT (id) DO UPDATE SET name = items.name || 'b'";
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(&mut app, upsert);
    assert_eq!(lines(&db, "items"), ["insert 1", "update 1", "insert 2"]);
    assert_newest_images_equal_table(&db, "items");
}

/// Fails if the trigger fires BEFORE the row is written: a conflict is found after BEFORE triggers ran.
#[test]
fn c07_on_conflict_do_nothing_is_no_change() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(
        &mut app,
        "INSERT INTO items VALUES (1, 'b') ON CONFLICT DO NOTHING",
    );
    execute(
        &mut app,
        "INSERT INTO items VALUES (1, 'b') ON CONFLICT (id) DO UPDATE SET name = 'c' WHERE false",
    );
    assert_eq!(lines(&db, "items"), ["insert 1"]);
}

/// Fails without any of INSERT, UPDATE and DELETE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_merge_is_captured() {
    let db = items();
    let mut app = db.app();
    let merge = "MERGE INTO items USING (VALUES (1, 'x'), (2, NULL), (3, 'y'), (4, 'same')) new (id, name) ON items.id = new.id
        WHEN MATCHED AND new.name IS NULL THEN DELETE
        WHEN MATCHED AND new.name = 'same' THEN DO NOTHING
        WHEN MATCHED THEN UPDATE SET name = new.name
        WHEN NOT MATCHED THEN INSERT VALUES (new.id, new.name)";
    execute(
        &mut app,
        "INSERT INTO items VALUES (1, 'a'), (2, 'a'), (4, 'a')",
    );
    if value(
        &mut app,
        "SELECT current_setting('server_version_num')::integer < 150000",
    ) == true
    {
        assert!(try_execute(&mut app, merge).is_err());
        return;
    }
    execute(&mut app, merge);
    let mut written = lines(&db, "items").split_off(3);
    written.sort();
    assert_eq!(written, ["delete 2", "insert 3", "update 1"]);
    assert_newest_images_equal_table(&db, "items");
}

/// Fails without INSERT in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_copy_is_captured() {
    let db = items();
    diesel::copy_from(items::table)
        .from_insertable(vec![
            (
                items::id.eq(1),
                items::name.eq("a"),
                items::parent_id.eq(None::<i64>),
            ),
            (
                items::id.eq(2),
                items::name.eq("b"),
                items::parent_id.eq(None),
            ),
        ])
        .execute(&mut db.app())
        .unwrap();
    assert_eq!(lines(&db, "items"), ["insert 1", "insert 2"]);
    assert_newest_images_equal_table(&db, "items");
}

/// Fails without any of INSERT, UPDATE and DELETE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_data_modifying_ctes_are_captured() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a'), (2, 'a')");
    execute(
        &mut app,
        "WITH gone AS (DELETE FROM items WHERE id = 1 RETURNING *),
              touched AS (UPDATE items SET name = 'b' WHERE id = 2 RETURNING *)
         INSERT INTO items SELECT id + 10, name FROM gone UNION ALL SELECT id + 10, name FROM touched",
    );
    let mut written = lines(&db, "items").split_off(2);
    written.sort();
    assert_eq!(written, ["delete 1", "insert 11", "insert 12", "update 2"]);
    assert_newest_images_equal_table(&db, "items");
}

/// The row of a CTE that goes and comes back under its key is there in the end.
/// Fails without INSERT or without DELETE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_a_cte_may_replace_a_row() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(
        &mut app,
        "WITH gone AS (DELETE FROM items RETURNING *) INSERT INTO items SELECT id, 'b' FROM gone",
    );
    assert_eq!(lines(&db, "items"), ["insert 1", "delete 1", "insert 1"]);
    assert_newest_images_equal_table(&db, "items");
}

/// A table whose rows follow those of `items` as `action` says.
fn followers(action: &str) -> TestDb {
    let db = items();
    db.audited(
        "followers",
        &format!("CREATE TABLE followers (id bigint PRIMARY KEY, item_id bigint REFERENCES items {action})"),
    );
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1), (2)");
    execute(
        &mut app,
        "INSERT INTO followers VALUES (10, 1), (11, 1), (20, 2)",
    );
    db
}

/// Fails without DELETE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_on_delete_cascade_is_captured() {
    let db = followers("ON DELETE CASCADE");
    execute(&mut db.app(), "DELETE FROM items WHERE id = 1");
    assert_eq!(lines(&db, "items")[2..], ["delete 1"]);
    assert_eq!(lines(&db, "followers")[3..], ["delete 10", "delete 11"]);
    assert_newest_images_equal_table(&db, "followers");
}

/// Fails without UPDATE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_on_delete_set_null_is_captured() {
    let db = followers("ON DELETE SET NULL");
    execute(&mut db.app(), "DELETE FROM items WHERE id = 1");
    assert_eq!(lines(&db, "followers")[3..], ["update 10", "update 11"]);
    assert_newest_images_equal_table(&db, "followers");
}

/// Fails without UPDATE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_on_update_cascade_is_captured() {
    let db = followers("ON UPDATE CASCADE");
    execute(&mut db.app(), "UPDATE items SET id = 3 WHERE id = 1");
    assert_eq!(lines(&db, "items")[2..], ["delete 1", "insert 3"]);
    assert_eq!(lines(&db, "followers")[3..], ["update 10", "update 11"]);
    assert_newest_images_equal_table(&db, "followers");
}

/// Fails without any of INSERT, UPDATE and DELETE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_a_write_to_a_partition_is_captured() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE events (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id);
         CREATE TABLE events_low PARTITION OF events FOR VALUES FROM (0) TO (100)",
    );
    db.capture("events", Definition::new("Event", &["id"]));
    let mut app = db.app();
    execute(&mut app, "INSERT INTO events_low VALUES (1, 'a')");
    execute(&mut app, "UPDATE events_low SET name = 'b'");
    execute(&mut app, "DELETE FROM events_low");
    assert_eq!(lines(&db, "events"), ["insert 1", "update 1", "delete 1"]);
}

/// Fails if threadline_record_v1 writes the line in a session of its own, through dblink.
#[test]
fn c07_a_rolled_back_transaction_leaves_nothing() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "BEGIN");
    execute(
        &mut app,
        "INSERT INTO items VALUES (1, 'a'); UPDATE items SET name = 'b'; DELETE FROM items",
    );
    execute(&mut app, "ROLLBACK");
    assert!(try_execute(&mut app, "INSERT INTO items VALUES (2, 'a'), (2, 'b')").is_err());
    for table in ["audit_changes", "audit_transactions", "audit_commits"] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(value(&mut db.auditor(), &count), 0, "{table}");
    }
}

/// Fails without INSERT or without UPDATE in the trigger that `threadline_capture_v1` creates.
#[test]
fn c07_a_rolled_back_savepoint_leaves_nothing() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "BEGIN");
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(&mut app, "SAVEPOINT s");
    execute(
        &mut app,
        "UPDATE items SET name = 'lost'; INSERT INTO items VALUES (2, 'lost')",
    );
    execute(&mut app, "ROLLBACK TO s");
    execute(&mut app, "UPDATE items SET name = 'kept'");
    execute(&mut app, "COMMIT");
    assert_eq!(lines(&db, "items"), ["insert 1", "update 1"]);
    assert_newest_images_equal_table(&db, "items");

    execute(
        &mut app,
        "DO $$ BEGIN
             BEGIN
                 INSERT INTO items VALUES (3, 'lost');
                 PERFORM 1 / 0;
             EXCEPTION WHEN division_by_zero THEN
                 INSERT INTO items VALUES (4, 'kept');
             END;
         END $$",
    );
    assert_eq!(lines(&db, "items"), ["insert 1", "update 1", "insert 4"]);
    let orphans = "SELECT count(*) FROM audit_changes c WHERE NOT EXISTS (SELECT FROM audit_transactions t WHERE t.id = c.transaction_id)";
    assert_eq!(value(&mut db.auditor(), orphans), 0);
}
