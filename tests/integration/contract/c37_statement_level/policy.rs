//! Every rule of a policy holds at statement level too.

use serde_json::{Value, json};
use threadline::{Definition, Level, RequireActor};
use threadline_tests::{execute, rows, try_execute, value};

use super::super::log::lines;
use super::{ITEM, captured, items, same_log};

const CREATE: &str =
    "CREATE TABLE items (id bigint PRIMARY KEY, name text, secret text, hidden text, seen int)";

const SCRIPT: [&str; 8] = [
    "INSERT INTO items SELECT i, 'n', 'canary', 'canary', 0 FROM generate_series(1, 4) i",
    "UPDATE items SET seen = seen + 1",
    "UPDATE items SET name = name || '' WHERE id > 1",
    "UPDATE items SET secret = 'canary-2' WHERE id = 1",
    "UPDATE items SET hidden = 'canary-3' WHERE id < 3",
    "UPDATE items SET name = 'm', seen = 7, secret = NULL, hidden = NULL WHERE id = 2",
    "UPDATE items SET id = id + 10, seen = 8 WHERE id > 2",
    "DELETE FROM items",
];

#[test]
fn c37_each_rule_leaves_the_same_log() {
    const RULES: [Definition; 8] = [
        Definition::new("Item", &["id"]),
        ITEM,
        ITEM.except_columns(&["seen"]),
        ITEM.ignore_only(&["seen"]),
        ITEM.exclude(&["hidden"]),
        ITEM.mask(&["secret"]).mask_placeholder("***"),
        ITEM.on_change(&["name"]),
        ITEM.exclude(&["hidden"])
            .mask(&["secret"])
            .except_columns(&["name"])
            .ignore_only(&["seen"]),
    ];
    for rules in RULES {
        let (_, log) = same_log(CREATE, &["items"], rules, &SCRIPT);
        assert!(log.len() >= 4 + 1 + 4 + 4, "{rules:?} left {log:?}");
    }
}

#[test]
fn c37_no_redacted_value_is_stored() {
    let rules = ITEM
        .exclude(&["hidden"])
        .mask(&["secret"])
        .level(Level::Statement);
    let db = captured(CREATE, &["items"], rules);
    let mut app = db.app();
    for statement in SCRIPT {
        execute(&mut app, statement);
    }
    let log = Value::from(rows(&mut db.auditor(), "SELECT * FROM audit_changes")).to_string();
    assert!(!log.contains("canary"), "{log}");
    assert!(log.contains("[REDACTED]"), "{log}");
}

#[test]
fn c37_a_renamed_redacted_column_is_refused() {
    let rules = ITEM.mask(&["secret"]).level(Level::Statement);
    let db = captured(CREATE, &["items"], rules);
    db.create("ALTER TABLE items RENAME secret TO old_secret");
    let refused = try_execute(
        &mut db.app(),
        "INSERT INTO items SELECT 1, 'n', 'canary', 'h', 1",
    )
    .unwrap_err();
    assert!(
        refused.contains("public.items lost its redacted column secret"),
        "{refused}"
    );
    assert_eq!(lines(&db, "items"), Vec::<String>::new());
}

#[test]
fn c37_a_required_actor_is_required() {
    let rules = ITEM
        .level(Level::Statement)
        .require_actor(RequireActor::Known);
    let db = captured(CREATE, &["items"], rules);
    let mut app = db.app();
    let refused = try_execute(&mut app, "INSERT INTO items VALUES (1, 'n')").unwrap_err();
    assert!(
        refused.contains("public.items requires an actor who is known"),
        "{refused}"
    );
    execute(
        &mut app,
        "BEGIN; SELECT set_config('threadline.actor_ref', '{\"type\": \"user\", \"id\": \"7\"}', true);
         INSERT INTO items VALUES (1, 'n'); UPDATE items SET name = 'm'; COMMIT",
    );
    let written = rows(
        &mut db.auditor(),
        "SELECT t.actor_ref ->> 'id' AS actor, c.op FROM audit_changes c JOIN audit_transactions t ON t.id = c.transaction_id ORDER BY c.id",
    );
    assert_eq!(
        written,
        [
            json!({"actor": "7", "op": "insert"}),
            json!({"actor": "7", "op": "update"})
        ]
    );
}

#[test]
fn c37_one_transaction_has_one_row_one_actor_and_one_seal() {
    let db = items("name text");
    let mut app = db.app();
    let actor = |id| {
        format!(
            "SELECT set_config('threadline.actor_ref', '{{\"type\": \"user\", \"id\": \"{id}\"}}', true)"
        )
    };
    execute(&mut app, "BEGIN");
    execute(&mut app, "INSERT INTO items VALUES (1, 'a'), (2, 'a')");
    execute(&mut app, &actor(7));
    execute(&mut app, "UPDATE items SET name = 'b'");
    execute(&mut app, "SAVEPOINT s");
    execute(&mut app, &actor(8));
    assert!(try_execute(&mut app, "DELETE FROM items").is_err());
    execute(&mut app, "ROLLBACK TO s");
    execute(&mut app, "COMMIT");
    let counts = "SELECT jsonb_build_array((SELECT count(*) FROM audit_transactions), (SELECT count(*) FROM audit_commits),
                                           (SELECT count(DISTINCT transaction_id) FROM audit_changes), (SELECT actor_ref ->> 'id' FROM audit_transactions))";
    assert_eq!(value(&mut db.auditor(), counts), json!([1, 1, 1, "7"]));
    assert_eq!(lines(&db, "items").len(), 4);
}

/// Every row of the log is written by the transaction itself: more than 64 subtransactions with ids of their own would make
/// every snapshot slower.
#[test]
fn c37_a_statement_takes_no_transaction_id() {
    let db = items("name text");
    execute(
        &mut db.app(),
        "BEGIN; INSERT INTO items SELECT i, 'a' FROM generate_series(1, 600) i; UPDATE items SET name = 'b' WHERE id = 1;
         UPDATE items SET name = 'c', id = id + 1000; DELETE FROM items WHERE id = 1001; DELETE FROM items; COMMIT",
    );
    let numbers = "SELECT jsonb_build_array(count(*), count(DISTINCT c.xmin::text), min(t.txid::text::bigint & 4294967295) = min(c.xmin::text::bigint))
        FROM audit_changes c JOIN audit_transactions t ON t.id = c.transaction_id";
    assert_eq!(value(&mut db.auditor(), numbers), json!([2401, 1, true]));
}

/// What a deferred trigger writes after the seal is sealed again.
#[test]
fn c37_what_follows_the_seal_is_sealed_again() {
    let db = items("name text");
    db.create(
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO items VALUES (NEW.id + 100, 'deferred'); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER later AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW WHEN (NEW.id < 100) EXECUTE FUNCTION later()",
    );
    // The first statement queues the seal before the second one queues the trigger.
    execute(
        &mut db.app(),
        "BEGIN; INSERT INTO items VALUES (200, 'a'); INSERT INTO items VALUES (1, 'a'); COMMIT",
    );
    assert_eq!(
        lines(&db, "items"),
        ["insert 200", "insert 1", "insert 101"]
    );
    let sealed =
        "SELECT max(s.committed_at) >= max(c.captured_at) AND count(DISTINCT s.committed_at) = 2
        FROM audit_changes c JOIN audit_commits s USING (transaction_id)";
    assert_eq!(value(&mut db.auditor(), sealed), true);
}
