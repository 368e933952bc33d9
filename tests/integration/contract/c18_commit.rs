//! C18: the times of a write, of its transaction and of the commit.

use serde_json::json;
use threadline_tests::{TestDb, execute, rows, value};

fn db() -> TestDb {
    let db = TestDb::new();
    db.audited("t", "CREATE TABLE t (id int PRIMARY KEY, note text)");
    db
}

/// Every transaction with changes: how many, how often it was sealed, and whether its last seal is after all of them.
fn seals(db: &TestDb) -> Vec<serde_json::Value> {
    rows(
        &mut db.auditor(),
        "SELECT changes, seals, last_seal >= last_change AS sealed, occurred_at <= first_change AS begun FROM (
           SELECT t.id, t.occurred_at, c.*, s.* FROM audit_transactions t
           CROSS JOIN LATERAL (SELECT count(*) AS changes, min(captured_at) AS first_change, max(captured_at) AS last_change
                               FROM audit_changes WHERE transaction_id = t.id) c
           CROSS JOIN LATERAL (SELECT count(*) AS seals, max(committed_at) AS last_seal
                               FROM audit_commits WHERE transaction_id = t.id AND occurred_at = t.occurred_at) s
         ) x ORDER BY occurred_at",
    )
}

fn sealed(changes: i32, seals: i32) -> serde_json::Value {
    json!({"changes": changes, "seals": seals, "sealed": true, "begun": true})
}

#[test]
fn c18_a_transaction_is_sealed_once_at_commit() {
    let db = db();
    let mut app = db.app();
    execute(&mut app, "BEGIN; INSERT INTO t VALUES (1)");
    execute(&mut app, "INSERT INTO t VALUES (2), (3)");
    // Seen from inside: nothing is sealed yet.
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_commits"),
        json!(0)
    );
    execute(&mut app, "UPDATE t SET note = 'x'; COMMIT");
    execute(&mut app, "DELETE FROM t WHERE id = 1");
    assert_eq!(seals(&db), [sealed(6, 1), sealed(1, 1)]);
}

#[test]
fn c18_times_are_those_of_the_write_and_not_of_the_transaction() {
    let db = db();
    let mut app = db.app();
    execute(
        &mut app,
        "CREATE TEMP TABLE moments (name text, at timestamptz);
         BEGIN; INSERT INTO moments VALUES ('begun', now()), ('before', clock_timestamp())",
    );
    execute(&mut app, "INSERT INTO t VALUES (1)");
    execute(
        &mut app,
        "INSERT INTO moments VALUES ('between', clock_timestamp())",
    );
    execute(&mut app, "INSERT INTO t VALUES (2)");
    execute(
        &mut app,
        "INSERT INTO moments VALUES ('after', clock_timestamp()); COMMIT",
    );
    execute(
        &mut app,
        "INSERT INTO moments VALUES ('committed', clock_timestamp())",
    );
    let moments: Vec<String> = rows(&mut app, "SELECT at FROM moments ORDER BY at")
        .into_iter()
        .map(|m| m["at"].as_str().unwrap().to_owned())
        .collect();
    let at = |i: usize| format!("'{}'", moments[i]);
    assert_eq!(
        rows(
            &mut db.auditor(),
            &format!(
                "SELECT first.captured_at BETWEEN {1} AND {2} AS first, second.captured_at BETWEEN {2} AND {3} AS second,
                        t.occurred_at BETWEEN {1} AND first.captured_at AS occurred, s.committed_at BETWEEN {3} AND {4} AS committed,
                        t.occurred_at > {0} AS after_begin
                 FROM audit_changes first, audit_changes second, audit_transactions t, audit_commits s
                 WHERE first.id < second.id",
                at(0), at(1), at(2), at(3), at(4)
            )
        ),
        [json!({"first": true, "second": true, "occurred": true, "committed": true, "after_begin": true})]
    );
}

/// An application's trigger that runs at commit and writes to an audited table.
const DEFERRED: &str = "
    CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO notes (about) VALUES (NEW.id); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER note_it AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION note_it();";

#[test]
fn c18_what_a_deferred_trigger_writes_is_sealed_again() {
    let db = db();
    db.audited(
        "notes",
        "CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, about int)",
    );
    db.create(DEFERRED);
    // The second row's trigger is due after the seal, which the first row's change made due.
    execute(
        &mut db.app(),
        "BEGIN; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); INSERT INTO t VALUES (3); COMMIT",
    );
    let all = seals(&db);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["changes"], 6);
    assert_eq!(all[0]["sealed"], true);
    assert!(all[0]["seals"].as_i64().unwrap() > 1, "{all:?}");
}

#[test]
fn c18_constraints_set_immediate_in_the_middle() {
    let db = db();
    execute(
        &mut db.app(),
        "BEGIN; INSERT INTO t VALUES (1); SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO t VALUES (2);
         UPDATE t SET note = 'x'; COMMIT",
    );
    let all = seals(&db);
    assert_eq!(
        [&all[0]["changes"], &all[0]["sealed"]],
        [&json!(4), &json!(true)]
    );
}

#[test]
fn c18_constraints_set_immediate_from_the_start() {
    let db = db();
    execute(
        &mut db.app(),
        "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); COMMIT",
    );
    let all = seals(&db);
    assert_eq!(
        [&all[0]["changes"], &all[0]["sealed"]],
        [&json!(2), &json!(true)]
    );
    execute(
        &mut db.app(),
        "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO t VALUES (3); COMMIT",
    );
    assert_eq!(seals(&db)[1]["sealed"], true);
}

#[test]
fn c18_constraints_deferred_again() {
    let db = db();
    execute(
        &mut db.app(),
        "BEGIN; INSERT INTO t VALUES (1); SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED;
         SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK TO s; INSERT INTO t VALUES (3); COMMIT",
    );
    let all = seals(&db);
    assert_eq!(
        [&all[0]["changes"], &all[0]["sealed"]],
        [&json!(2), &json!(true)]
    );
}

#[test]
fn c18_what_is_rolled_back_is_not_sealed() {
    let db = db();
    let mut app = db.app();
    execute(&mut app, "BEGIN; INSERT INTO t VALUES (1); ROLLBACK");
    execute(
        &mut app,
        "BEGIN; INSERT INTO t VALUES (1); SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK",
    );
    execute(
        &mut app,
        "BEGIN; SAVEPOINT s; INSERT INTO t VALUES (1); ROLLBACK TO s; COMMIT",
    );
    for table in ["audit_changes", "audit_transactions", "audit_commits"] {
        assert_eq!(
            value(&mut db.auditor(), &format!("SELECT count(*) FROM {table}")),
            json!(0),
            "{table}"
        );
    }
}

#[test]
fn c18_a_two_phase_transaction_is_sealed_when_it_is_prepared() {
    let db = db();
    let mut app = db.app();
    let gid = format!("seal_{}", db.name());
    execute(&mut app, "BEGIN; INSERT INTO t VALUES (1)");
    execute(&mut app, &format!("PREPARE TRANSACTION '{gid}'"));
    let prepared = value(&mut app, "SELECT clock_timestamp()");
    assert_eq!(seals(&db), Vec::<serde_json::Value>::new());
    execute(&mut app, &format!("COMMIT PREPARED '{gid}'"));
    assert_eq!(seals(&db), [sealed(1, 1)]);
    assert_eq!(
        value(
            &mut db.auditor(),
            &format!(
                "SELECT committed_at <= '{}' FROM audit_commits",
                prepared.as_str().unwrap()
            )
        ),
        json!(true)
    );
}
