//! C36: thin trigger functions over one shared, versioned recorder, each replaceable without the other.

use serde_json::{Value, json};
use threadline::Definition;
use threadline::capture::{CapturePlan, Storage, base};
use threadline_tests::{TestDb, execute, rows, value};

const ITEMS: &str = "CREATE TABLE items (id int PRIMARY KEY, a text, b text); INSERT INTO items VALUES (1, 'a', 'b')";

fn run_base_again(db: &TestDb) {
    execute(&mut db.owner(), &base::up_sql(&Storage::default(), None));
}

fn triggers(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.superuser(),
        "SELECT oid, tgname, tgrelid::regclass::text, tgfoid FROM pg_trigger WHERE NOT tgisinternal OR tgconstraint <> 0 ORDER BY oid",
    )
}

fn newest(db: &TestDb) -> Value {
    value(
        &mut db.auditor(),
        "SELECT jsonb_build_array(table_name, data_after, changed_from) FROM audit_changes ORDER BY id DESC LIMIT 1",
    )
}

#[test]
fn c36_a_new_policy_replaces_the_function_and_not_the_triggers() {
    let db = TestDb::new();
    db.create(ITEMS);
    db.capture("items", Definition::new("Item", &["id"]));
    let before = triggers(&db);
    execute(&mut db.app(), "UPDATE items SET a = 'x'");
    assert_eq!(
        newest(&db),
        json!(["items", {"id": 1, "a": "x", "b": "b"}, null])
    );
    db.capture(
        "items",
        Definition::new("Item", &["id"])
            .store_changed_from()
            .exclude(&["b"]),
    );
    assert_eq!(triggers(&db), before);
    execute(&mut db.app(), "UPDATE items SET a = 'y'");
    assert_eq!(
        newest(&db),
        json!(["items", {"id": 1, "a": "y"}, {"a": "x"}])
    );
}

/// A policy change waits for no reader and makes none wait, but takes the table's own lock for its checks.
#[test]
fn c36_a_transaction_that_began_under_the_old_policy_goes_on_under_the_new_one() {
    let db = TestDb::new();
    db.create(ITEMS);
    db.capture("items", Definition::new("Item", &["id"]));
    let mut app = db.app();
    execute(&mut app, "BEGIN; SELECT * FROM items");
    db.capture("items", Definition::new("Item", &["id"]).mask(&["b"]));
    execute(&mut app, "UPDATE items SET a = 'y'; COMMIT");
    assert_eq!(
        newest(&db),
        json!(["items", {"id": 1, "a": "y", "b": "[REDACTED]"}, null])
    );
}

#[test]
fn c36_the_recorder_is_replaced_under_an_open_writer() {
    let db = TestDb::new();
    db.audited("items", ITEMS);
    let mut app = db.app();
    execute(&mut app, "BEGIN; UPDATE items SET a = 'x'");
    // Waits for nobody: with a lock on a table, the open transaction would be in the way.
    let mut owner = db.owner();
    let functions = rows(
        &mut owner,
        "SELECT pg_get_functiondef(oid) AS sql FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'threadline\\_%\\_v1'",
    );
    assert!(functions.len() > 15);
    execute(&mut owner, "SET lock_timeout = '5s'");
    for function in &functions {
        execute(&mut owner, function["sql"].as_str().unwrap());
    }
    execute(&mut app, "UPDATE items SET a = 'y'; COMMIT");
    assert_eq!(
        newest(&db),
        json!(["items", {"id": 1, "a": "y", "b": "b"}, {"a": "x"}])
    );
}

#[test]
fn c36_capture_goes_on_when_the_base_migrations_run_again() {
    let db = TestDb::new();
    db.audited("items", ITEMS);
    let mut app = db.app();
    execute(&mut app, "UPDATE items SET a = 'x'");
    run_base_again(&db);
    execute(&mut app, "UPDATE items SET a = 'y'");
    assert_eq!(
        newest(&db),
        json!(["items", {"id": 1, "a": "y", "b": "b"}, {"a": "x"}])
    );
    let transactions = value(
        &mut db.auditor(),
        "SELECT count(*) FROM audit_transactions t JOIN audit_commits c ON c.transaction_id = t.id",
    );
    assert_eq!(transactions, json!(2));
}

#[test]
fn c36_old_and_new_trigger_functions_capture_side_by_side() {
    let db = TestDb::new();
    db.create(ITEMS);
    db.create("CREATE TABLE others (id int PRIMARY KEY, a text, b text); INSERT INTO others VALUES (1, 'a', 'b')");
    db.capture(
        "items",
        Definition::new("Item", &["id"]).store_changed_from(),
    );
    // An incompatible recorder comes beside the old one, and only the new migration calls it.
    let mut owner = db.owner();
    let v1 = value(
        &mut owner,
        "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'threadline_record_v1'",
    );
    let v2 = v1
        .as_str()
        .unwrap()
        .replace("threadline_record_v1", "threadline_record_v2");
    execute(
        &mut owner,
        &v2.replace(
            "pk, after, changed, before\n",
            "pk, after || '{\"v\": 2}', changed, before\n",
        ),
    );
    let plan = CapturePlan::for_definition(
        "others".parse().unwrap(),
        &Definition::new("Other", &["id"]).store_changed_from(),
    )
    .unwrap();
    execute(
        &mut owner,
        &plan
            .up_sql(&Storage::default())
            .replace("threadline_record_v1", "threadline_record_v2"),
    );

    execute(
        &mut db.app(),
        "BEGIN; UPDATE items SET a = 'x'; UPDATE others SET a = 'x'; UPDATE items SET a = 'y'; COMMIT",
    );
    let log = rows(
        &mut db.auditor(),
        "SELECT table_name, data_after, changed_from FROM audit_changes ORDER BY id",
    );
    assert_eq!(
        log,
        [
            json!({"table_name": "items", "data_after": {"id": 1, "a": "x", "b": "b"}, "changed_from": {"a": "a"}}),
            json!({"table_name": "others", "data_after": {"id": 1, "a": "x", "b": "b", "v": 2}, "changed_from": {"a": "a"}}),
            json!({"table_name": "items", "data_after": {"id": 1, "a": "y", "b": "b"}, "changed_from": {"a": "x"}}),
        ]
    );
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_transactions"),
        json!(1)
    );
}

#[test]
fn c36_every_function_that_a_trigger_calls_has_a_version() {
    let db = TestDb::new();
    db.audited("items", ITEMS);
    let unversioned = value(
        &mut db.superuser(),
        "WITH RECURSIVE called(name, body) AS (
           SELECT p.proname::text, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.proname LIKE 'threadline%'
           UNION
           SELECT p.proname::text, p.prosrc FROM called c
             CROSS JOIN LATERAL regexp_matches(c.body, 'threadline_[a-z0-9_]+(?=\\()', 'g') m
             JOIN pg_proc p ON p.proname = m[1])
         SELECT jsonb_build_object('called', count(*), 'without', jsonb_agg(name) FILTER (WHERE name !~ '_v\\d+$'))
         FROM called WHERE name !~ '^threadline_capture_\\d+$'",
    );
    assert_eq!(unversioned["without"], Value::Null);
    assert!(
        unversioned["called"].as_i64().unwrap() >= 12,
        "{unversioned}"
    );
}

#[test]
fn c36_the_table_has_nothing_but_a_thin_function_of_its_own() {
    let db = TestDb::new();
    db.audited("items", ITEMS);
    let size = value(
        &mut db.superuser(),
        "SELECT length(prosrc) FROM pg_proc WHERE proname = 'threadline_capture_1'",
    );
    assert!(
        size.as_i64().unwrap() < 6_000,
        "{size} characters for each table and connection"
    );
}

/// What the database has of Threadline, without what a session can't tell apart.
fn schema(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.superuser(),
        "SELECT 'column' AS kind, attrelid::regclass::text || '.' || attname || ' ' || format_type(atttypid, atttypmod) || attnotnull::text || coalesce(to_jsonb(a) ->> 'attcompression', '') AS what
           FROM pg_attribute a WHERE attrelid::regclass::text LIKE 'audit\\_%' AND attnum > 0 AND NOT attisdropped
         UNION ALL SELECT 'index', indexdef FROM pg_indexes WHERE tablename LIKE 'audit\\_%'
         UNION ALL SELECT 'constraint', conrelid::regclass::text || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid::regclass::text LIKE 'audit\\_%'
         UNION ALL SELECT 'trigger', pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'audit\\_%'
         UNION ALL SELECT 'function', pg_get_functiondef(oid) FROM pg_proc WHERE proname LIKE 'threadline\\_%'
         UNION ALL SELECT 'rights', relname || coalesce(relacl::text, '') FROM pg_class WHERE relname LIKE 'audit\\_%'
         UNION ALL SELECT 'rights', proname || coalesce(proacl::text, '') FROM pg_proc WHERE proname LIKE 'threadline\\_%'
         ORDER BY kind, what",
    )
}

#[test]
fn c36_running_the_base_migrations_again_changes_nothing() {
    let db = TestDb::new();
    db.audited("items", ITEMS);
    execute(&mut db.app(), "UPDATE items SET a = 'x'");
    let (schema_before, triggers_before) = (schema(&db), triggers(&db));
    run_base_again(&db);
    assert_eq!(schema(&db), schema_before);
    assert_eq!(triggers(&db), triggers_before, "what exists is left alone");
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_changes"),
        json!(1)
    );
}

#[test]
fn c36_an_older_schema_gets_what_is_missing() {
    let db = TestDb::new();
    db.audited("items", ITEMS);
    execute(&mut db.app(), "UPDATE items SET a = 'x'");
    let before = schema(&db);
    let id = value(&mut db.auditor(), "SELECT max(id) FROM audit_changes");
    for sql in [
        "DROP INDEX audit_changes_key",
        "DROP INDEX audit_commits_long",
        "DROP TRIGGER threadline_guard ON audit_actions",
        "DROP TRIGGER threadline_guard_truncate ON audit_changes",
        "DROP TRIGGER threadline_seal ON audit_transactions",
        "DROP TRIGGER threadline_require_changes ON audit_actions",
        "DROP TABLE audit_actions",
        "DROP FUNCTION threadline_as_of",
        "DROP FUNCTION threadline_masked_v1",
        "REVOKE ALL ON audit_changes FROM threadline_reader, threadline_retention",
        "GRANT SELECT ON audit_changes TO PUBLIC",
    ] {
        execute(&mut db.owner(), sql);
    }
    // And a column that came after the first version.
    execute(
        &mut db.owner(),
        "ALTER TABLE audit_changes DROP COLUMN changed_from",
    );
    run_base_again(&db);
    assert_eq!(schema(&db), before);
    execute(&mut db.app(), "UPDATE items SET a = 'y'");
    assert_eq!(
        newest(&db),
        json!(["items", {"id": 1, "a": "y", "b": "b"}, {"a": "x"}])
    );
    let kept = value(
        &mut db.auditor(),
        "SELECT jsonb_build_array(count(*), min(id)) FROM audit_changes",
    );
    assert_eq!(kept, json!([2, id]));
    let history = value(
        &mut db.auditor(),
        "SELECT count(*) FROM threadline_history('items', '{\"id\": 1}')",
    );
    assert_eq!(history, json!(2));
}

#[test]
fn c36_the_older_schema_of_the_readme_gets_changed_from() {
    let db = TestDb::new();
    let mut owner = db.owner();
    execute(
        &mut owner,
        "ALTER TABLE audit_changes DROP COLUMN changed_from; ALTER TABLE audit_changes ADD COLUMN IF NOT EXISTS changed_from jsonb",
    );
    db.audited("items", ITEMS);
    execute(&mut db.app(), "UPDATE items SET a = 'x'");
    assert_eq!(
        newest(&db),
        json!(["items", {"id": 1, "a": "x", "b": "b"}, {"a": "a"}])
    );
}
