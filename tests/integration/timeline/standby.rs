//! What a walk sees that began on a standby, whose snapshots have no list of running transactions: the functions that decide
//! it, on a primary. `tests/endurance/replica.rs` asks a standby.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use scratch_postgres::ScratchPostgres;
use serde_json::{Value, json};
use threadline_tests::{cluster, try_execute, value};

use super::*;

type Alone = MutexGuard<'static, Arc<ScratchPostgres>>;

/// On a cluster for one such test after the other, since all tests of a cluster take transaction ids.
fn alone() -> (TestDb, Alone) {
    static CLUSTER: OnceLock<Mutex<Arc<ScratchPostgres>>> = OnceLock::new();
    let alone = CLUSTER
        .get_or_init(|| {
            let settings = ScratchPostgres::builder().setting("autovacuum", "off");
            Mutex::new(cluster(settings))
        })
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let db = TestDb::on(&alone);
    db.audited("items", "CREATE TABLE items (id bigint PRIMARY KEY)");
    (db, alone)
}

fn number(conn: &mut PgConnection) -> i64 {
    value(conn, "SELECT pg_current_xact_id()::text::bigint")
        .as_i64()
        .unwrap()
}

/// Begins a transaction that stays open, as the oldest that runs.
fn oldest(db: &TestDb) -> (PgConnection, i64) {
    let mut older = db.superuser();
    execute(&mut older, "BEGIN");
    let id = number(&mut older);
    (older, id)
}

/// What a standby would tell with a snapshot of these ends: the transactions that it takes to be running, and since when.
fn told(db: &TestDb, oldest: i64, next: i64) -> (String, Option<String>) {
    let sql = format!("SELECT threadline_standby_snapshot_v1('{oldest}:{next}:')");
    let told = value(&mut db.auditor(), &sql);
    let mut facts = told.as_str().unwrap().split('/').map(str::to_owned);
    (facts.next().unwrap(), facts.nth(1))
}

/// Whether the walk sees a change of an item.
fn seen(db: &TestDb, item: i64, snapshot: &str, covered: &str) -> Result<Value, String> {
    let call = format!(
        "SELECT threadline_seen_on_standby_v1(c.xmin, c.transaction_id, '{snapshot}', {covered}) FROM audit_changes c
         WHERE c.table_pk ->> 'id' = '{item}'"
    );
    try_execute(&mut db.auditor(), &call)?;
    Ok(value(&mut db.auditor(), &call))
}

#[test]
fn what_is_not_visible_of_the_log_is_taken_to_be_running() {
    let (db, _alone) = alone();
    let (_older, older_id) = oldest(&db);
    execute(&mut db.app(), "INSERT INTO items VALUES (1)");
    let mut open = db.superuser();
    execute(&mut open, "BEGIN; INSERT INTO items VALUES (2)");
    let open_id = number(&mut open);
    execute(
        &mut db.app(),
        "BEGIN; SAVEPOINT s; INSERT INTO items VALUES (3); RELEASE s; COMMIT",
    );
    let next = number(&mut db.superuser()) + 1;
    let (snapshot, covered) = told(&db, older_id, next);
    // The last are those of the savepoint, and one that wrote nothing.
    let expected = format!(
        "{older_id}:{next}:{older_id},{open_id},{},{}",
        next - 2,
        next - 1
    );
    assert_eq!(snapshot, expected);
    assert_eq!(covered.as_deref(), Some("0"));

    execute(&mut open, "COMMIT");
    execute(&mut db.app(), "INSERT INTO items VALUES (4)");
    for (item, is_seen) in [(1, true), (2, false), (3, true), (4, false)] {
        assert_eq!(
            seen(&db, item, &snapshot, "0"),
            Ok(json!(is_seen)),
            "{item}"
        );
    }
}

/// Rows that were copied into the log name transactions of another cluster.
#[test]
fn what_copied_rows_name_is_not_taken_to_be_committed() {
    let (db, _alone) = alone();
    let (_older, older_id) = oldest(&db);
    let mut open = db.superuser();
    execute(&mut open, "BEGIN; INSERT INTO items VALUES (1)");
    let open_id = number(&mut open);
    execute(&mut db.app(), "INSERT INTO items VALUES (2)");
    execute(
        &mut db.superuser(),
        &format!(
            "SET session_replication_role = replica;
             INSERT INTO audit_transactions SELECT (jsonb_populate_record(t, jsonb_build_object(
                 'id', '00000000-0000-0001-0000-000000000001', 'txid', '{open_id}'))).* FROM audit_transactions t;
             INSERT INTO audit_changes SELECT (jsonb_populate_record(c, jsonb_build_object('id', c.id + 100,
                 'transaction_id', '00000000-0000-0001-0000-000000000001', 'table_pk', '{{\"id\": \"3\"}}'::jsonb))).*
             FROM audit_changes c"
        ),
    );
    let next = number(&mut db.superuser()) + 1;
    let (snapshot, _) = told(&db, older_id, next);
    assert!(snapshot.contains(&format!(",{open_id},")), "{snapshot}");
    let refused = seen(&db, 3, &snapshot, "0").unwrap_err();
    assert!(
        refused.contains("Begin again at the first page"),
        "{refused}"
    );
}

/// A transaction that was captured before all that was looked at may have been visible.
#[test]
fn what_was_not_looked_at_is_not_taken_to_be_running() {
    let (db, _alone) = alone();
    let (_older, older_id) = oldest(&db);
    execute(&mut db.app(), "INSERT INTO items VALUES (1)");
    let next = number(&mut db.superuser()) + 1;
    let snapshot = format!("{older_id}:{next}:{older_id},{}", next - 2);
    let occurred =
        "(SELECT (extract(epoch FROM min(occurred_at)) * 1000000)::bigint FROM audit_transactions)";
    assert_eq!(
        seen(&db, 1, &snapshot, &format!("{occurred} - 1")),
        Ok(json!(false))
    );
    let refused = seen(&db, 1, &snapshot, occurred).unwrap_err();
    assert!(
        refused.contains("Begin again at the first page"),
        "{refused}"
    );

    // As many are looked at as may be in between, and some more.
    for item in 2..=150 {
        execute(&mut db.app(), &format!("INSERT INTO items VALUES ({item})"));
    }
    let next = number(&mut db.superuser()) + 1;
    let (_, covered) = told(&db, next - 3, next);
    let covers = format!(
        "SELECT count(*) FROM audit_transactions WHERE (extract(epoch FROM occurred_at) * 1000000)::bigint >= {}",
        covered.unwrap()
    );
    assert_eq!(value(&mut db.auditor(), &covers), 112);
}

#[test]
fn too_many_for_a_cursor_are_none() {
    let (db, _alone) = alone();
    execute(
        &mut db.superuser(),
        "DO $$ BEGIN FOR i IN 1..1001 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    );
    let next = number(&mut db.superuser()) + 1;
    assert_eq!(told(&db, next - 1001, next).0, "running");
    assert_ne!(told(&db, next - 1000, next).0, "running");
    // Nor is the log looked through for them.
    assert_eq!(told(&db, 1, 10_002).0, "running");
}

/// A row that a savepoint inserted, or that was copied: where nothing tells, the number that it names may be of either.
#[test]
fn a_number_that_may_be_of_another_cluster_is_not_compared() {
    let (db, _alone) = alone();
    let (_older, older_id) = oldest(&db);
    let mut open = db.app();
    execute(
        &mut open,
        "BEGIN; SAVEPOINT s; INSERT INTO items VALUES (1); RELEASE s",
    );
    let mut copied = db.app();
    execute(
        &mut copied,
        "BEGIN; SAVEPOINT s; INSERT INTO items VALUES (2); RELEASE s; COMMIT",
    );
    // Without the commit marker, whose number would tell.
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica;
         DELETE FROM audit_commits s USING audit_changes c WHERE s.transaction_id = c.transaction_id AND c.table_pk ->> 'id' = '2'",
    );
    let snapshot = value(&mut db.auditor(), "SELECT pg_current_snapshot()");
    execute(&mut open, "COMMIT");
    let snapshot = snapshot.as_str().unwrap();
    let call = |item, snapshot: &str| {
        format!(
            "SELECT threadline_seen_v1(c.xmin, c.transaction_id, '{snapshot}') FROM audit_changes c WHERE c.table_pk ->> 'id' = '{item}'"
        )
    };
    let mut auditor = db.auditor();
    // NULL, as without a transaction id of its own.
    assert_ne!(value(&mut auditor, &call(1, snapshot)), true);
    assert_eq!(value(&mut auditor, &call(2, snapshot)), true);
    let named = value(
        &mut auditor,
        "SELECT max(txid::text::bigint) FROM audit_transactions",
    );
    let next = number(&mut db.superuser()) + 1;
    let refused = try_execute(
        &mut auditor,
        &call(2, &format!("{older_id}:{next}:{older_id},{named}")),
    );
    assert!(refused.unwrap_err().contains("Begin again"));
}
