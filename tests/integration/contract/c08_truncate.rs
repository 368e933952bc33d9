use diesel::prelude::*;
use threadline::{AsOf, Definition, Op, prelude::*};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

use super::log::{assert_newest_images_equal_table, lines};

diesel::table! {
    items (id) { id -> BigInt, name -> Text, }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
struct Item {
    id: i64,
    name: String,
}

fn items() -> TestDb {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL)");
    db.capture("items", Item::DEFINITION);
    db
}

fn partitioned() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "events",
        "CREATE TABLE events (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id);
         CREATE TABLE events_low PARTITION OF events FOR VALUES FROM (0) TO (100);
         CREATE TABLE events_high PARTITION OF events FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
         CREATE TABLE events_highest PARTITION OF events_high FOR VALUES FROM (150) TO (200)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO events VALUES (1, 'a'), (160, 'b')",
    );
    db
}

#[test]
fn c08_truncate_is_one_change_of_the_table() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a'), (2, 'a')");
    execute(&mut app, "TRUNCATE items");
    let truncate = rows(
        &mut db.auditor(),
        "SELECT op, table_pk, data_after, changed_fields, changed_from FROM audit_changes ORDER BY id OFFSET 2",
    );
    assert_eq!(
        truncate,
        [
            serde_json::json!({"op": "truncate", "table_pk": {}, "data_after": null, "changed_fields": null, "changed_from": null})
        ]
    );
}

#[test]
fn c08_typed_reads_treat_earlier_rows_as_gone() {
    let db = items();
    let (mut app, mut auditor) = (db.app(), db.auditor());
    let now = diesel::dsl::now;
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    let before: chrono::DateTime<chrono::Utc> =
        diesel::select(now.into_sql::<diesel::sql_types::Timestamptz>())
            .get_result(&mut app)
            .unwrap();
    execute(&mut app, "TRUNCATE items");
    assert!(matches!(
        Item::as_of(1, now).get_result(&mut auditor),
        Ok(AsOf::Deleted(_))
    ));
    assert!(matches!(
        Item::as_of(1, before).get_result(&mut auditor),
        Ok(AsOf::Found { .. })
    ));
    execute(&mut app, "INSERT INTO items VALUES (1, 'b')");
    let back = Item::as_of(1, now).get_result(&mut auditor).unwrap();
    assert_eq!(back.into_row().unwrap().name, "b");
}

#[test]
fn c08_history_shows_truncate_for_rows_that_were_alive() {
    let db = items();
    let (mut app, mut auditor) = (db.app(), db.auditor());
    execute(
        &mut app,
        "INSERT INTO items VALUES (1, 'a'), (2, 'a'); DELETE FROM items WHERE id = 2",
    );
    execute(&mut app, "TRUNCATE items");
    execute(&mut app, "TRUNCATE items");
    execute(&mut app, "INSERT INTO items VALUES (3, 'a')");
    let mut ops = |id| -> Vec<Op> {
        Item::history(id)
            .load(&mut auditor)
            .unwrap()
            .iter()
            .map(|change| change.op)
            .collect()
    };
    assert_eq!(ops(1), [Op::Truncate, Op::Insert], "alive when it came");
    assert_eq!(ops(2), [Op::Delete, Op::Insert], "gone already");
    assert_eq!(ops(3), [Op::Insert], "not there yet");
    assert_eq!(ops(4), [], "never there");
}

#[test]
fn c08_a_rolled_back_truncate_leaves_nothing() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(&mut app, "BEGIN");
    execute(&mut app, "TRUNCATE items");
    execute(&mut app, "ROLLBACK");
    assert_eq!(lines(&db, "items"), ["insert 1"]);
}

#[test]
fn c08_a_cascading_truncate_is_captured() {
    let db = items();
    db.audited(
        "notes",
        "CREATE TABLE notes (id bigint PRIMARY KEY REFERENCES items)",
    );
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items VALUES (1, 'a'); INSERT INTO notes VALUES (1)",
    );
    execute(&mut app, "TRUNCATE items CASCADE");
    assert_eq!(lines(&db, "items"), ["insert 1", "truncate"]);
    assert_eq!(lines(&db, "notes"), ["insert 1", "truncate"]);
}

/// A trigger that writes to the table before its rows go: they are gone all the same.
#[test]
fn c08_rows_written_by_a_trigger_before_truncate_are_gone() {
    let db = items();
    db.create(
        "CREATE FUNCTION farewell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE items SET name = 'farewell'; RETURN NULL; END $$;
         CREATE TRIGGER farewell BEFORE TRUNCATE ON items FOR EACH STATEMENT EXECUTE FUNCTION farewell()",
    );
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(&mut app, "TRUNCATE items");
    assert_eq!(lines(&db, "items"), ["insert 1", "update 1", "truncate"]);
}

/// Rows that a trigger writes to the emptied table are there.
#[test]
fn c08_rows_written_by_a_trigger_after_truncate_are_alive() {
    let db = items();
    db.create(
        "CREATE FUNCTION seed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO items VALUES (1, 'seed'); RETURN NULL; END $$;
         CREATE TRIGGER seed AFTER TRUNCATE ON items FOR EACH STATEMENT EXECUTE FUNCTION seed()",
    );
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(&mut app, "TRUNCATE items");
    assert_eq!(lines(&db, "items"), ["insert 1", "truncate", "insert 1"]);
    assert_newest_images_equal_table(&db, "items");
}

#[test]
fn c08_truncate_of_a_partition_is_refused() {
    let db = partitioned();
    let mut app = db.app();
    for partition in ["events_low", "events_high", "events_highest"] {
        let refused = try_execute(&mut app, &format!("TRUNCATE {partition}")).unwrap_err();
        assert!(
            refused.contains(&format!("public.{partition}")),
            "{refused}"
        );
        assert!(
            refused.contains("TRUNCATE public.events as a whole"),
            "{refused}"
        );
    }
    assert_eq!(value(&mut app, "SELECT count(*) FROM events"), 2);
    assert_eq!(lines(&db, "events"), ["insert 1", "insert 160"]);
}

/// Its own line in the same transaction is no pass for what was written after it.
#[test]
fn c08_truncate_of_a_partition_is_refused_after_a_truncate_of_the_table() {
    let db = partitioned();
    let mut app = db.app();
    execute(&mut app, "BEGIN");
    execute(&mut app, "TRUNCATE events");
    execute(&mut app, "INSERT INTO events VALUES (2, 'a')");
    assert!(try_execute(&mut app, "TRUNCATE events_low").is_err());
}

#[test]
fn c08_truncate_of_a_partitioned_table_is_one_change() {
    let db = partitioned();
    execute(&mut db.app(), "TRUNCATE events");
    assert_eq!(lines(&db, "events"), ["insert 1", "insert 160", "truncate"]);
    assert_eq!(value(&mut db.app(), "SELECT count(*) FROM events"), 0);
}

/// A partition that came later has no guard until the table is captured again: a statement trigger isn't inherited.
#[test]
fn c08_a_later_partition_is_guarded_once_captured_again() {
    let db = partitioned();
    db.create("CREATE TABLE events_later PARTITION OF events FOR VALUES FROM (200) TO (300)");
    db.capture(
        "events",
        Definition::new("Model", &["id"]).store_changed_from(),
    );
    execute(&mut db.app(), "INSERT INTO events VALUES (250, 'a')");
    assert!(try_execute(&mut db.app(), "TRUNCATE events_later").is_err());
}
