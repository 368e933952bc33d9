//! What is appended where the log and the row differ.

use super::*;

/// A lock marks the version as a write would. Fails without the comparison in threadline_recheck_v1 and the look for the version
/// in trigger.sql.
#[test]
fn c13_a_row_that_a_trigger_only_locks_gets_no_further_change() {
    let db = items(
        "!a",
        "UPDATE",
        "PERFORM FROM items WHERE id = 2 FOR UPDATE; INSERT INTO items VALUES (9)",
    );
    execute(
        &mut db.app(),
        "UPDATE items SET name = 'outer' WHERE id IN (1, 2)",
    );
    assert_eq!(
        lines(&db, "items")[3..],
        ["insert 9", "update 1", "update 2"]
    );
}

/// Fails if threadline_recheck_v1 writes the row itself, without threadline_record_v1.
#[test]
fn c13_the_appended_image_is_redacted() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, name text, secret text, pin text);
         CREATE FUNCTION app_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE items SET name = 'nested', secret = 'canary', pin = 'canary' WHERE id = 2; RETURN NULL; END $$;
         CREATE TRIGGER a AFTER UPDATE ON items FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION app_trigger()",
    );
    db.capture("items", ITEM.exclude(&["secret"]).mask(&["pin"]));
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a', 'canary', 'canary'), (2, 'b', 'canary', 'canary')",
    );
    execute(&mut db.app(), "UPDATE items SET name = 'outer'");
    assert_eq!(
        lines(&db, "items")[2..],
        ["update 1", "update 2", "update 2", "update 2"]
    );
    let log = rows(
        &mut db.auditor(),
        "SELECT * FROM audit_changes c ORDER BY c.id",
    );
    assert!(
        !serde_json::to_string(&log).unwrap().contains("canary"),
        "{log:#?}"
    );
    assert_eq!(
        log.last().unwrap()["data_after"],
        serde_json::json!({"id": 2, "name": "nested", "pin": "[REDACTED]"})
    );
}
