//! C38: triggers fire for the origin of a change, not for what a replica applies.

use serde_json::json;
use threadline::{Definition, Level, Truncate};
use threadline_tests::{TestDb, execute, value};

use super::log::lines;

const ITEM: Definition = Definition::new("Item", &["id"]);

fn items(definition: Definition) -> TestDb {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text)");
    db.capture("items", definition);
    db
}

#[test]
fn c38_every_trigger_is_enabled_for_the_origin() {
    for definition in [
        ITEM,
        ITEM.level(Level::Statement),
        ITEM.truncate(Truncate::Rows),
    ] {
        let db = items(definition);
        let enabled = "SELECT jsonb_agg(DISTINCT tgenabled) FROM pg_trigger WHERE tgrelid = 'items'::regclass";
        assert_eq!(value(&mut db.owner(), enabled), json!(["O"]));
    }
}

#[test]
fn c38_replicas_do_not_capture() {
    for level in [Level::Row, Level::Statement] {
        let db = items(ITEM.level(level));
        let mut superuser = db.superuser();
        for (role, row) in [("origin", 1), ("replica", 2), ("local", 3), ("origin", 4)] {
            execute(
                &mut superuser,
                &format!("SET session_replication_role = {role}; INSERT INTO items VALUES ({row})"),
            );
        }
        execute(
            &mut superuser,
            "SET session_replication_role = replica; TRUNCATE items",
        );
        assert_eq!(lines(&db, "items"), ["insert 1", "insert 3", "insert 4"]);
    }
}

/// What a data-only restore with `--disable-triggers` does.
#[test]
fn c38_disabled_triggers_do_not_capture() {
    let db = items(ITEM);
    let mut superuser = db.superuser();
    execute(
        &mut superuser,
        "ALTER TABLE items DISABLE TRIGGER ALL; INSERT INTO items VALUES (1); ALTER TABLE items ENABLE TRIGGER ALL;
         INSERT INTO items VALUES (2)",
    );
    assert_eq!(lines(&db, "items"), ["insert 2"]);
}

/// The owner's own decision, which capturing again leaves alone.
#[test]
fn c38_a_trigger_that_always_fires_captures_on_a_replica() {
    let db = items(ITEM);
    execute(
        &mut db.owner(),
        "ALTER TABLE items ENABLE ALWAYS TRIGGER \"!threadline\"",
    );
    db.capture("items", ITEM.mask(&["name"]));
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica; INSERT INTO items VALUES (1)",
    );
    assert_eq!(lines(&db, "items"), ["insert 1"]);
}
