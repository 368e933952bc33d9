//! C18: the state at a moment, by the time of commit, and whether it can change yet.

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline_tests::{TestDb, execute, rows, value};

use crate::alone;

/// A table `writes` of this session: every update of a balance, when it was captured and when it was committed, which is
/// the last seal of its transaction.
pub fn collect_writes(conn: &mut PgConnection) {
    execute(
        conn,
        "DROP TABLE IF EXISTS writes;
         CREATE TEMP TABLE writes AS
         SELECT c.id, c.table_name, c.table_pk::text AS pk, c.captured_at, s.committed_at,
                coalesce(c.data_after -> 'abalance', c.data_after -> 'tbalance', c.data_after -> 'bbalance')::bigint AS balance
         FROM audit_changes c
         JOIN (SELECT transaction_id, max(committed_at) AS committed_at FROM audit_commits GROUP BY 1) s USING (transaction_id)
         WHERE c.op = 'update';
         ANALYZE writes",
    );
}

/// How many different sums the balances of the tables have at a moment, by one of the times; rows that weren't written
/// until then have none.
pub fn sums_at(conn: &mut PgConnection, time: &str, moment: &Value) -> i64 {
    let moment = moment.as_str().unwrap();
    let sums = format!(
        "SELECT count(DISTINCT total) FROM (
           SELECT t.table_name, coalesce(sum(balance), 0) AS total
           FROM (SELECT DISTINCT table_name FROM writes) t
           LEFT JOIN (SELECT DISTINCT ON (table_name, pk) table_name, balance FROM writes
                      WHERE {time} <= '{moment}' ORDER BY table_name, pk, id DESC) newest USING (table_name)
           GROUP BY 1) totals"
    );
    value(conn, &sums).as_i64().unwrap()
}

/// Whether no transaction that began to write before the moment still runs, so that no more commits can get in front of it.
fn is_settled(db: &TestDb, moment: &Value) -> bool {
    let running = format!(
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
             WHERE datname = current_database() AND backend_type = 'client backend' AND backend_xid IS NOT NULL AND xact_start <= '{0}')
         AND NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database() AND prepared <= '{0}')",
        moment.as_str().unwrap()
    );
    value(&mut db.superuser(), &running) == true
}

/// The balances that the log has for a moment, by commit.
fn balances(db: &TestDb, moment: &Value) -> Vec<Value> {
    let mut owner = db.owner();
    collect_writes(&mut owner);
    let newest = format!(
        "SELECT DISTINCT ON (table_name) table_name AS of, balance FROM writes WHERE committed_at <= '{}'
         ORDER BY table_name, id DESC",
        moment.as_str().unwrap()
    );
    let mut balances = rows(&mut owner, &newest);
    balances
        .iter_mut()
        .map(|row| row["balance"].take())
        .collect()
}

fn now(db: &TestDb) -> Value {
    value(&mut db.owner(), "SELECT clock_timestamp()")
}

const TRANSFER: &str =
    "UPDATE accounts SET abalance = abalance + 1; UPDATE branches SET bbalance = bbalance + 1";

/// Two tables with a row each, whose balances are always the same.
fn bank() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "accounts",
        "CREATE TABLE accounts (id int PRIMARY KEY, abalance int)",
    );
    db.audited(
        "branches",
        "CREATE TABLE branches (id int PRIMARY KEY, bbalance int)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO accounts VALUES (1, 0); INSERT INTO branches VALUES (1, 0)",
    );
    execute(&mut db.app(), TRANSFER);
    db
}

/// Fails when `threadline_seal_v1` takes `transaction_timestamp()` for the time of the commit.
#[test]
fn a_moment_inside_a_transaction_excludes_all_of_it() {
    let _alone = alone();
    let db = bank();
    let mut open = db.app();
    execute(
        &mut open,
        "BEGIN; UPDATE accounts SET abalance = abalance + 1",
    );
    let inside = now(&db);
    assert!(!is_settled(&db, &inside));
    execute(&mut open, "UPDATE branches SET bbalance = bbalance + 1");
    assert_eq!(balances(&db, &inside), [json!(1), json!(1)]);
    execute(&mut open, "COMMIT");
    assert!(is_settled(&db, &inside));
    assert_eq!(balances(&db, &inside), [json!(1), json!(1)]);
    assert_eq!(balances(&db, &now(&db)), [json!(2), json!(2)]);

    let mut owner = db.owner();
    collect_writes(&mut owner);
    assert_eq!(sums_at(&mut owner, "committed_at", &inside), 1);
    // By the time of writing it shows half of the transaction.
    assert_eq!(sums_at(&mut owner, "captured_at", &inside), 2);
}

/// SET CONSTRAINTS writes a commit marker at once. Fails when `threadline_sealed_v1` doesn't notice.
#[test]
fn a_moment_before_the_commit_shows_nothing_of_immediate_constraints() {
    let _alone = alone();
    let db = bank();
    let mut open = db.app();
    execute(
        &mut open,
        "BEGIN; UPDATE accounts SET abalance = abalance + 1; SET CONSTRAINTS ALL IMMEDIATE",
    );
    let sealed_once = now(&db);
    execute(&mut open, "UPDATE branches SET bbalance = bbalance + 1");
    let sealed_twice = now(&db);
    for moment in [&sealed_once, &sealed_twice] {
        assert_eq!(balances(&db, moment), [json!(1), json!(1)]);
        assert!(!is_settled(&db, moment));
    }
    execute(&mut open, "COMMIT");
    assert!(is_settled(&db, &sealed_twice));
    // The last commit marker counts, and it is written at the commit.
    for moment in [&sealed_once, &sealed_twice] {
        assert_eq!(balances(&db, moment), [json!(1), json!(1)]);
    }
    assert_eq!(balances(&db, &now(&db)), [json!(2), json!(2)]);
}
