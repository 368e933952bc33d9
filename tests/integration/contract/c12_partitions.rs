use serde_json::json;
use threadline::Definition;
use threadline_tests::{TestDb, execute, rows, value};

use super::log::{assert_newest_images_equal_table, lines};

const EVENT: Definition = Definition::new("Event", &["region", "id"]).store_changed_from();

/// Partitioned by region, and one region by id. Rows of the leaf `events_us` have another layout than those of the
/// table: columns were dropped, and it was made in another order.
fn events() -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE events (dropped text, region text, id bigint, name text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
         ALTER TABLE events DROP COLUMN dropped;
         CREATE TABLE events_eu PARTITION OF events FOR VALUES IN ('eu') PARTITION BY RANGE (id);
         CREATE TABLE events_eu_low PARTITION OF events_eu FOR VALUES FROM (0) TO (100);
         CREATE TABLE events_eu_high PARTITION OF events_eu FOR VALUES FROM (100) TO (200);
         CREATE TABLE events_us (name text, a integer, id bigint NOT NULL, b json, region text NOT NULL);
         ALTER TABLE events_us DROP COLUMN a, DROP COLUMN b;
         ALTER TABLE events ATTACH PARTITION events_us FOR VALUES IN ('us')",
    );
    db.capture("events", EVENT);
    db
}

/// Every line of the log, and under which table it stands.
fn tables_of_the_log(db: &TestDb) -> Vec<serde_json::Value> {
    rows(
        &mut db.auditor(),
        "SELECT DISTINCT c.table_schema, c.table_name, t.table_name AS registered
         FROM audit_changes c JOIN audit_tables t ON t.id = c.table_id",
    )
}

fn only_the_parent() -> serde_json::Value {
    json!([{"table_schema": "public", "table_name": "events", "registered": "events"}])
}

/// Fails with TG_TABLE_NAME instead of table_name where trigger.sql calls threadline_record_v1.
#[test]
fn c12_writes_are_recorded_under_the_parent() {
    let db = events();
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO events VALUES ('eu', 1, 'a'), ('eu', 150, 'a'), ('us', 1, 'a')",
    );
    execute(&mut app, "UPDATE events SET name = 'b'");
    execute(&mut app, "DELETE FROM events WHERE region = 'us'");
    assert_eq!(
        lines(&db, "events"),
        // The key in the order of the column names.
        [
            "insert 1,eu",
            "insert 150,eu",
            "insert 1,us",
            "update 1,eu",
            "update 150,eu",
            "update 1,us",
            "delete 1,us"
        ]
    );
    assert_eq!(json!(tables_of_the_log(&db)), only_the_parent());
    assert_newest_images_equal_table(&db, "events");
}

/// As above.
#[test]
fn c12_writes_that_name_a_partition_are_recorded_under_the_parent() {
    let db = events();
    let mut app = db.app();
    for (partition, region, id) in [
        ("events_eu", "eu", 1),
        ("events_eu_low", "eu", 2),
        ("events_eu_high", "eu", 102),
        ("events_us", "us", 3),
    ] {
        execute(
            &mut app,
            &format!("INSERT INTO {partition} (region, id, name) VALUES ('{region}', {id}, 'a')"),
        );
        execute(&mut app, &format!("UPDATE {partition} SET name = 'b'"));
        execute(
            &mut app,
            &format!("DELETE FROM {partition} WHERE id = {id}"),
        );
    }
    assert_eq!(lines(&db, "events").len(), 12);
    assert_eq!(json!(tables_of_the_log(&db)), only_the_parent());
    assert_newest_images_equal_table(&db, "events");
}

/// As above.
#[test]
fn c12_a_partition_named_like_the_parent_is_recorded_under_the_parent() {
    let db = events();
    db.create(
        "CREATE SCHEMA other; CREATE TABLE other.events PARTITION OF public.events FOR VALUES IN ('asia')",
    );
    execute(
        &mut db.app(),
        "INSERT INTO other.events (region, id) VALUES ('asia', 1)",
    );
    assert_eq!(json!(tables_of_the_log(&db)), only_the_parent());
}

/// As above.
#[test]
fn c12_a_move_between_partitions_is_a_key_change_under_the_parent() {
    let db = events();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO events VALUES ('eu', 1, 'a')");
    execute(&mut app, "UPDATE events SET id = 150");
    execute(&mut app, "UPDATE events SET region = 'us', name = 'b'");
    // Within the table that is named, so that it may also move between the leaves below it.
    execute(&mut app, "INSERT INTO events VALUES ('eu', 2, 'c')");
    execute(&mut app, "UPDATE events_eu SET id = 102");
    assert_eq!(
        lines(&db, "events"),
        [
            "insert 1,eu",
            "delete 1,eu",
            "insert 150,eu",
            "delete 150,eu",
            "insert 150,us",
            "insert 2,eu",
            "delete 2,eu",
            "insert 102,eu"
        ]
    );
    assert_eq!(json!(tables_of_the_log(&db)), only_the_parent());
    assert_eq!(
        value(
            &mut db.auditor(),
            "SELECT changed_from FROM audit_changes WHERE op = 'delete' ORDER BY id LIMIT 1 OFFSET 1"
        ),
        json!({"region": "eu", "id": 150, "name": "a"})
    );
    assert_newest_images_equal_table(&db, "events");
}

/// As above. The row trigger of the parent comes with the attachment.
#[test]
fn c12_a_partition_attached_later_is_recorded_under_the_parent() {
    let db = events();
    db.create(
        "CREATE TABLE events_asia (id bigint NOT NULL, extra integer, name text, region text NOT NULL);
         ALTER TABLE events_asia DROP COLUMN extra;
         ALTER TABLE events ATTACH PARTITION events_asia FOR VALUES IN ('asia');
         CREATE TABLE events_rest PARTITION OF events DEFAULT",
    );
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO events VALUES ('asia', 1, 'a'), ('africa', 1, 'a')",
    );
    execute(&mut app, "UPDATE events_asia SET name = 'b'");
    execute(
        &mut app,
        "UPDATE events SET region = 'us' WHERE region = 'africa'",
    );
    execute(&mut app, "DELETE FROM events_asia");
    assert_eq!(
        lines(&db, "events"),
        [
            "insert 1,asia",
            "insert 1,africa",
            "update 1,asia",
            "delete 1,africa",
            "insert 1,us",
            "delete 1,asia"
        ]
    );
    assert_eq!(json!(tables_of_the_log(&db)), only_the_parent());
    assert_newest_images_equal_table(&db, "events");
}

/// Fails without `NOT a.attisdropped` in threadline_differences_sql_v1 or in threadline_image_sql_v1.
#[test]
fn c12_leaves_of_another_layout_are_compared_column_by_column() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE docs (id bigint PRIMARY KEY, doc json, name text) PARTITION BY RANGE (id);
         CREATE TABLE docs_low (gone integer, name text, doc json, id bigint NOT NULL);
         ALTER TABLE docs_low DROP COLUMN gone;
         ALTER TABLE docs ATTACH PARTITION docs_low FOR VALUES FROM (0) TO (100)",
    );
    db.capture("docs", Definition::new("Doc", &["id"]).store_changed_from());
    let mut app = db.app();
    execute(&mut app, r#"INSERT INTO docs VALUES (1, '{"a":1}', 'a')"#);
    execute(&mut app, "UPDATE docs SET name = name");
    execute(&mut app, r#"UPDATE docs SET doc = '{"a": 1}', name = 'b'"#);
    execute(&mut app, "UPDATE docs SET name = repeat('x', 1000001)");
    let changes = rows(
        &mut db.auditor(),
        "SELECT changed_fields AS fields, data_after -> 'name' -> 'bytes' AS bytes FROM audit_changes WHERE op = 'update' ORDER BY id",
    );
    assert_eq!(
        changes,
        [
            json!({"fields": ["doc", "name"], "bytes": null}),
            json!({"fields": ["name"], "bytes": 1_000_001})
        ]
    );
}

/// Fails if capture puts row triggers of its own on the leaves: those of the parent go with the detachment.
#[test]
fn c12_a_detached_partition_is_not_recorded_under_the_parent() {
    let db = events();
    execute(&mut db.app(), "INSERT INTO events VALUES ('us', 1, 'a')");
    execute(
        &mut db.owner(),
        "ALTER TABLE events DETACH PARTITION events_us",
    );
    execute(&mut db.app(), "UPDATE events_us SET name = 'b'");
    assert_eq!(lines(&db, "events"), ["insert 1,us"]);
}

/// Fails without the check of `relispartition` in threadline_capture_v1.
#[test]
fn c12_a_partition_alone_is_not_captured() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE events (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE events_low PARTITION OF events FOR VALUES FROM (0) TO (100)",
    );
    let refused = db
        .try_capture("events_low", Definition::new("Event", &["id"]))
        .unwrap_err();
    assert!(
        refused.to_string().contains("events_low is a partition"),
        "{refused}"
    );
}
