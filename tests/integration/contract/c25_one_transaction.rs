//! C25: all changes of one database transaction share one row, whose id is computed.

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline_tests::{TestDb, execute, rows, value};

fn db() -> TestDb {
    let db = TestDb::new();
    db.audited("t", "CREATE TABLE t (id int PRIMARY KEY, note text)");
    db
}

/// Changes of each transaction in the order of writing; `null` stands for changes without a row.
fn shape(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT t.id IS NOT NULL AS filed, count(c.id) AS changes
         FROM audit_changes c FULL JOIN audit_transactions t ON t.id = c.transaction_id
         GROUP BY t.id, c.transaction_id ORDER BY min(c.id)",
    )
}

fn one(changes: i32) -> Value {
    json!({"filed": true, "changes": changes})
}

/// Fails when `threadline_transaction_id_v1` is made of `clock_timestamp()`.
#[test]
fn c25_one_row_for_all_changes() {
    let db = db();
    let mut app = db.app();
    execute(
        &mut app,
        "BEGIN; INSERT INTO t VALUES (1), (2); SAVEPOINT a; UPDATE t SET note = 'a'; SAVEPOINT b; DELETE FROM t WHERE id = 1;
         RELEASE b; RELEASE a; INSERT INTO t VALUES (3); COMMIT",
    );
    execute(&mut app, "INSERT INTO t VALUES (4)");
    assert_eq!(shape(&db), [one(6), one(1)]);
}

/// Fails without `ON CONFLICT (id) DO NOTHING` in `threadline_enter_v1`.
#[test]
fn c25_through_reset_all() {
    let db = db();
    execute(
        &mut db.app(),
        "BEGIN; INSERT INTO t VALUES (1); RESET ALL; INSERT INTO t VALUES (2);
         SELECT set_config('threadline.open', '', true); INSERT INTO t VALUES (3); COMMIT",
    );
    assert_eq!(shape(&db), [one(3)]);
}

/// Fails when what remembers the row outlives the rollback, such as a session-level advisory lock on the id in place of
/// the setting.
#[test]
fn c25_through_exception_blocks() {
    let db = db();
    execute(
        &mut db.app(),
        "DO $$ BEGIN
           BEGIN INSERT INTO t VALUES (1); RAISE 'undone'; EXCEPTION WHEN OTHERS THEN NULL; END;
           INSERT INTO t VALUES (2);
           BEGIN INSERT INTO t VALUES (3); EXCEPTION WHEN OTHERS THEN NULL; END;
           BEGIN UPDATE t SET note = 'x'; PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN INSERT INTO t VALUES (4); END;
         END $$",
    );
    assert_eq!(shape(&db), [one(3)]);
}

/// Fails when what remembers the row outlives the rollback, such as a session-level advisory lock on the id in place of
/// the setting.
#[test]
fn c25_a_rolled_back_savepoint_leaves_no_orphan() {
    let db = db();
    let mut app = db.app();
    execute(
        &mut app,
        "BEGIN; SAVEPOINT s; INSERT INTO t VALUES (1); ROLLBACK TO s; COMMIT",
    );
    assert_eq!(shape(&db), Vec::<Value>::new());
    // The savepoint held the first change: later ones get their row.
    execute(
        &mut app,
        "BEGIN; SAVEPOINT s; INSERT INTO t VALUES (1); ROLLBACK TO s; INSERT INTO t VALUES (2); INSERT INTO t VALUES (3);
         SAVEPOINT s; INSERT INTO t VALUES (4); ROLLBACK TO s; COMMIT",
    );
    assert_eq!(shape(&db), [one(2)]);
    execute(
        &mut app,
        "BEGIN; INSERT INTO t VALUES (5); SAVEPOINT s; INSERT INTO t VALUES (6); ROLLBACK TO s; RESET ALL; INSERT INTO t VALUES (7); COMMIT",
    );
    assert_eq!(shape(&db), [one(2), one(2)]);
}

/// What the application sees of its own transaction, and can forge.
fn own_id(conn: &mut PgConnection) -> String {
    let id = value(conn, "SELECT threadline_transaction_id_v1()");
    id.as_str().unwrap().to_owned()
}

/// Fails when `threadline_record_v1` files under the id in the setting: `tx := left(known, 36)::uuid`.
#[test]
fn c25_a_forged_setting_files_nothing_under_another_transaction() {
    let db = db();
    let (mut victim, mut app) = (db.app(), db.app());
    // What files under the victim's id waits for it: an error instead of a test that hangs.
    execute(&mut app, "SET lock_timeout = '10s'");
    execute(&mut victim, "BEGIN");
    let other = own_id(&mut victim);
    execute(
        &mut victim,
        r#"SELECT set_config('threadline.actor_ref', '{"type": "user", "id": "victim"}', true); INSERT INTO t VALUES (1)"#,
    );
    let mut id = 10;
    for forged in [
        format!("{other}-"),
        format!("{other}+"),
        other.clone(),
        format!(r#"{other}-{{"type": "user", "id": "victim"}}"#),
        "?".into(),
        "garbage".into(),
        "-".into(),
        "ä".repeat(100_000),
    ] {
        for local in ["true", "false"] {
            execute(
                &mut app,
                &format!("SELECT set_config('threadline.open', '{forged}', {local})"),
            );
            execute(
                &mut app,
                &format!("BEGIN; SELECT set_config('threadline.open', '{forged}', {local}); INSERT INTO t VALUES ({id});
                    SELECT set_config('threadline.open', '{forged}', {local}); INSERT INTO t VALUES ({id} + 1); COMMIT"),
            );
            id += 2;
        }
    }
    execute(&mut victim, "COMMIT");
    let all = shape(&db);
    assert_eq!(all.len(), 17);
    assert_eq!(all[0], one(1));
    assert_eq!(all[1..], vec![one(2); 16]);
    assert_eq!(
        rows(
            &mut db.auditor(),
            "SELECT count(*) FILTER (WHERE actor_ref IS NOT NULL) AS attributed, count(DISTINCT txid) AS transactions FROM audit_transactions"
        ),
        [json!({"attributed": 1, "transactions": 17})]
    );
}

/// A setting with the transaction's own id claims that the row exists: the worst it does is to leave the forger's own
/// changes without one. Fails when `threadline_transaction_id_v1` is made of `clock_timestamp()`.
#[test]
fn c25_a_forged_setting_with_the_own_id_stays_with_the_own_id() {
    let db = db();
    let mut app = db.app();
    execute(&mut app, "BEGIN");
    let own = own_id(&mut app);
    execute(
        &mut app,
        &format!("SELECT set_config('threadline.open', '{own}-', true); INSERT INTO t VALUES (1)"),
    );
    // Without the forgery, or with another one, the next change files the row.
    execute(
        &mut app,
        "SELECT set_config('threadline.open', '', true); INSERT INTO t VALUES (2); COMMIT",
    );
    assert_eq!(shape(&db), [one(2)]);
    assert_eq!(
        rows(&mut db.auditor(), "SELECT id FROM audit_transactions"),
        [json!({"id": own})]
    );
}

/// A commit marker locks the row of its transaction, which VACUUM undoes.
#[test]
fn c25_the_place_of_an_older_transaction_is_not_ones_own() {
    let db = db();
    let mut app = db.app();
    execute(&mut app, "BEGIN; INSERT INTO t VALUES (1)");
    let mark = value(&mut app, "SELECT current_setting('threadline.open')");
    execute(&mut app, "COMMIT");
    execute(&mut db.superuser(), "VACUUM FREEZE audit_transactions");
    execute(
        &mut app,
        &format!(
            "BEGIN; SELECT set_config('threadline.open', '{}', true); INSERT INTO t VALUES (2); COMMIT",
            mark.as_str().unwrap()
        ),
    );
    assert_eq!(shape(&db), [one(1), one(1)]);
}

/// Fails when `threadline_transaction_id_v1` leaves `pg_current_xact_id()` out, or counts milliseconds.
#[test]
fn c25_the_id_is_the_start_and_the_transaction_id() {
    let db = db();
    let mut app = db.app();
    execute(&mut app, "BEGIN");
    let own = own_id(&mut app);
    let facts = rows(
        &mut app,
        "SELECT (extract(epoch FROM now() - timestamptz '2000-01-01Z') * 1000000)::bigint AS start, pg_current_xact_id()::text AS xid",
    );
    execute(&mut app, "INSERT INTO t VALUES (1); COMMIT");
    let stored = rows(
        &mut db.auditor(),
        "SELECT t.id, t.txid::text, c.transaction_id FROM audit_transactions t, audit_changes c",
    );
    assert_eq!(
        stored,
        [json!({"id": own, "txid": facts[0]["xid"], "transaction_id": own})]
    );
    let id: uuid::Uuid = own.parse().unwrap();
    let (start, xid) = id.as_u64_pair();
    assert_eq!(json!(start), facts[0]["start"]);
    assert_eq!(json!(xid.to_string()), facts[0]["xid"]);
}
