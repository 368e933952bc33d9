//! Triggers of the application that write in the middle of a statement.

use super::*;

/// Names that fire before ours and after it.
const NAMES: [&str; 3] = ["!a", "a", "~"];

/// After `statement`, with an application trigger that runs `body`, the log's newest image of every row is the row.
fn holds(event: &str, body: &str, statement: &str) {
    for name in NAMES {
        let db = items(name, event, body);
        execute(&mut db.app(), statement);
        assert_newest_images_equal_table(&db, "items");
    }
}

/// Fails with a name for our trigger that sorts after letters, such as `~threadline`, in threadline_capture_v1.
#[test]
fn c13_our_trigger_fires_before_the_applications() {
    let db = items(
        "a",
        "UPDATE",
        "UPDATE items SET name = 'nested' WHERE id = 1",
    );
    execute(
        &mut db.app(),
        "UPDATE items SET name = 'outer' WHERE id = 1",
    );
    let names = rows(
        &mut db.auditor(),
        "SELECT data_after ->> 'name' AS name FROM audit_changes WHERE op = 'update' ORDER BY id",
    );
    assert_eq!(
        names,
        [
            serde_json::json!({"name": "outer"}),
            serde_json::json!({"name": "nested"})
        ]
    );
    let first =
        "SELECT min(tgname::text COLLATE \"C\") FROM pg_trigger WHERE tgrelid = 'items'::regclass";
    assert_eq!(value(&mut db.owner(), first), "!threadline");
}

/// The statement of the clause. Fails without the branch for `NEW.xmax` in trigger.sql.
#[test]
fn c13_a_row_written_by_a_trigger_before_its_turn() {
    holds(
        "UPDATE",
        "UPDATE items SET name = 'nested' WHERE id = 2",
        "UPDATE items SET name = 'outer' WHERE id IN (1, 2)",
    );
    let db = items(
        "a",
        "UPDATE",
        "UPDATE items SET name = 'nested' WHERE id = 2",
    );
    execute(
        &mut db.app(),
        "UPDATE items SET name = 'outer' WHERE id IN (1, 2)",
    );
    let recorded = rows(
        &mut db.auditor(),
        "SELECT table_pk ->> 'id' AS id, data_after ->> 'name' AS name FROM audit_changes WHERE op = 'update' ORDER BY id",
    );
    let recorded: Vec<_> = recorded
        .iter()
        .map(|row| format!("{} {}", row["id"], row["name"]).replace('"', ""))
        .collect();
    assert_eq!(
        recorded,
        ["1 outer", "2 nested", "2 outer", "2 nested"],
        "the current image is appended"
    );
}

/// As above.
#[test]
fn c13_a_row_deleted_by_a_trigger_before_its_turn() {
    holds(
        "UPDATE",
        "DELETE FROM items WHERE id = 2",
        "UPDATE items SET name = 'outer'",
    );
}

/// As above.
#[test]
fn c13_an_inserted_row_updated_by_a_trigger_before_its_turn() {
    holds(
        "INSERT",
        "UPDATE items SET name = 'nested' WHERE id = 12",
        "INSERT INTO items VALUES (11, 'outer'), (12, 'outer')",
    );
}

/// As above.
#[test]
fn c13_an_inserted_row_deleted_by_a_trigger_before_its_turn() {
    holds(
        "INSERT",
        "DELETE FROM items WHERE id = 12",
        "INSERT INTO items VALUES (11, 'outer'), (12, 'outer')",
    );
}

/// As above.
#[test]
fn c13_a_key_changed_by_a_trigger_before_its_turn() {
    holds(
        "UPDATE",
        "UPDATE items SET id = 22 WHERE id = 2",
        "UPDATE items SET name = 'outer' WHERE id IN (1, 2)",
    );
    holds(
        "INSERT",
        "UPDATE items SET id = 22 WHERE id = 12",
        "INSERT INTO items VALUES (11, 'outer'), (12, 'outer')",
    );
}

/// Fails without the branch for `TG_OP = 'DELETE'` in trigger.sql, where outcomes are looked at.
#[test]
fn c13_a_deleted_row_inserted_again_by_a_trigger_before_its_turn() {
    holds(
        "DELETE",
        "INSERT INTO items VALUES (2, 'nested')",
        "DELETE FROM items WHERE id IN (1, 2)",
    );
}

/// Fails without `RETURN 'left'` where threadline_record_v1 records a key change.
#[test]
fn c13_a_key_taken_again_by_a_trigger_before_its_turn() {
    holds(
        "UPDATE",
        "INSERT INTO items VALUES (2, 'nested')",
        "UPDATE items SET id = id + 10 WHERE id IN (1, 2)",
    );
}

/// As the statement of the clause; each nested write sets off the next one.
#[test]
fn c13_triggers_that_set_each_other_off() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, n integer);
         CREATE FUNCTION app_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.n < 4 THEN
                 UPDATE items SET n = greatest(n, NEW.n) + 1 WHERE id <> NEW.id;
             END IF;
             RETURN NULL; END $$;
         CREATE TRIGGER a AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION app_trigger()",
    );
    db.capture("items", ITEM);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items SELECT id, 0 FROM generate_series(1, 3) id",
    );
    execute(&mut app, "UPDATE items SET n = n + 1");
    assert_newest_images_equal_table(&db, "items");
}

/// Fails if what a nested command did is remembered in a setting.
#[test]
fn c13_a_trigger_that_resets_the_session() {
    for (event, body, statement) in [
        (
            "UPDATE",
            "UPDATE items SET name = 'nested' WHERE id = 2",
            "UPDATE items SET name = 'outer' WHERE id IN (1, 2)",
        ),
        (
            "DELETE",
            "INSERT INTO items VALUES (2, 'nested')",
            "DELETE FROM items WHERE id IN (1, 2)",
        ),
    ] {
        holds(event, &format!("RESET ALL; {body}"), statement);
        holds(event, &format!("{body}; RESET ALL"), statement);
    }
}

/// Fails if the key of a deleted row is only looked for in a transaction's first statement.
#[test]
fn c13_a_transaction_that_had_captured_before() {
    for name in NAMES {
        let db = items(name, "DELETE", "INSERT INTO items VALUES (2, 'nested')");
        execute(
            &mut db.app(),
            "BEGIN; UPDATE items SET name = 'first'; DELETE FROM items WHERE id IN (1, 2); COMMIT",
        );
        assert_newest_images_equal_table(&db, "items");
    }
}

/// What was nested may be in another audited table: as the statement of the clause.
#[test]
fn c13_triggers_of_two_tables_that_write_to_each_other() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, name text);
         CREATE TABLE notes (id bigint PRIMARY KEY, name text);
         CREATE FUNCTION to_notes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE notes SET name = NEW.name WHERE id = NEW.id; RETURN NULL; END $$;
         CREATE FUNCTION to_items() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE items SET name = 'from note ' || NEW.id WHERE id = NEW.id + 1; RETURN NULL; END $$;
         CREATE TRIGGER a AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION to_notes();
         CREATE TRIGGER a AFTER UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION to_items()",
    );
    db.capture("items", ITEM);
    db.capture("notes", ITEM);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items VALUES (1), (2), (3); INSERT INTO notes VALUES (1), (2), (3)",
    );
    execute(&mut app, "UPDATE items SET name = 'outer'");
    assert_newest_images_equal_table(&db, "items");
    assert_newest_images_equal_table(&db, "notes");
}

/// Fails without UPDATE in the events of our trigger. The triggers of a cascade fire after those of the statement that set
/// it off, so its order needs nothing of ours.
#[test]
fn c13_cascades_within_one_table() {
    let db = TestDb::new();
    db.audited(
        "nodes",
        "CREATE TABLE nodes (id bigint PRIMARY KEY, parent_id bigint REFERENCES nodes ON UPDATE CASCADE ON DELETE CASCADE)",
    );
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO nodes VALUES (1, NULL), (2, 1), (3, 2)",
    );
    execute(&mut app, "UPDATE nodes SET id = id + 10");
    assert_newest_images_equal_table(&db, "nodes");
    execute(&mut app, "DELETE FROM nodes WHERE id IN (11, 12)");
    assert_newest_images_equal_table(&db, "nodes");
    assert_eq!(value(&mut app, "SELECT count(*) FROM nodes"), 0);
}

/// As the statement of the clause, in a partition.
#[test]
fn c13_a_row_of_a_partition_written_by_a_trigger_before_its_turn() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id);
         CREATE TABLE items_low (gone integer, name text, id bigint NOT NULL);
         ALTER TABLE items_low DROP COLUMN gone;
         ALTER TABLE items ATTACH PARTITION items_low FOR VALUES FROM (0) TO (100);
         CREATE FUNCTION app_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE items SET name = 'nested' WHERE id = 2; RETURN NULL; END $$;
         CREATE TRIGGER a AFTER UPDATE ON items FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION app_trigger()",
    );
    db.capture("items", ITEM);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a'), (2, 'b')");
    execute(&mut db.app(), "UPDATE items SET name = 'outer'");
    assert_newest_images_equal_table(&db, "items");
}
