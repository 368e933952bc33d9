//! One cut across tables, whole transactions, and whether a moment is settled. The order of things is that of locks and
//! commits.

use chrono::{DateTime, Utc};
use diesel::dsl::sum;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use serde_json::json;
use threadline::{Audited, AuditedDsl, QueryAsOf};
use threadline_tests::{TestDb, execute, value, wait_for};

use super::{clock, let_the_application_read_the_log};

diesel::table! { accounts (id) { id -> Integer, balance -> Integer, } }
diesel::table! { branches (id) { id -> Integer, balance -> Integer, } }
diesel::allow_tables_to_appear_in_same_query!(accounts, branches);

#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = accounts)]
struct Account {
    #[allow(dead_code, reason = "only its balance is looked at")]
    id: i32,
    balance: i32,
}

/// Two tables with a row each; every transaction moves both balances.
fn bank() -> TestDb {
    let db = TestDb::new();
    for table in ["accounts", "branches"] {
        db.audited(
            table,
            &format!("CREATE TABLE {table} (id int PRIMARY KEY, balance int NOT NULL)"),
        );
    }
    let_the_application_read_the_log(&db);
    execute(
        &mut db.app(),
        "INSERT INTO accounts VALUES (1, 0); INSERT INTO branches VALUES (1, 0)",
    );
    db
}

/// Both balances as of a moment, as the auditor and the application read them.
fn balances(db: &TestDb, moment: DateTime<Utc>) -> (i32, i32) {
    let mut conns = [db.auditor(), db.app()];
    let [first, second] = conns.each_mut().map(|conn| {
        accounts::table
            .inner_join(branches::table.on(branches::id.eq(accounts::id)))
            .select((accounts::balance, branches::balance))
            .as_of(moment)
            .get_result::<(i32, i32)>(conn)
            .unwrap()
    });
    assert_eq!(first, second);
    first
}

pub fn settled(db: &TestDb, moment: DateTime<Utc>) -> bool {
    threadline::settled(moment)
        .get_result(&mut db.auditor())
        .unwrap()
}

/// Waits until a moment is settled. A session of another database counts if it begins just while the server is asked: then
/// nobody knows yet where it is.
pub fn wait_until_settled(conn: &mut PgConnection, moment: DateTime<Utc>) {
    let asked = threadline::settled(moment);
    wait_for("the moment to be settled", || {
        asked.get_result::<bool>(conn).unwrap().then_some(())
    });
}

const TRANSFER: &str =
    "UPDATE accounts SET balance = balance + 1; UPDATE branches SET balance = balance + 1";

#[test]
fn a_transaction_counts_as_a_whole_from_its_commit() {
    let db = bank();
    let mut open = db.app();
    execute(
        &mut open,
        "BEGIN; UPDATE accounts SET balance = balance + 1",
    );
    let half = clock(&mut db.app());
    execute(&mut open, "UPDATE branches SET balance = balance + 1");
    let whole = clock(&mut db.app());
    assert_eq!(balances(&db, whole), (0, 0));
    execute(&mut open, "COMMIT");
    let committed = clock(&mut db.app());
    for moment in [half, whole] {
        assert_eq!(balances(&db, moment), (0, 0));
    }
    assert_eq!(balances(&db, committed), (1, 1));
    // By the time of writing, a single row is already changed.
    let account = Account::as_of(1, half)
        .get_result(&mut db.auditor())
        .unwrap();
    assert_eq!(account.into_row().unwrap().balance, 1);
}

/// A change that was captured earlier may commit later, and the other way round.
#[test]
fn of_two_transactions_the_one_counts_that_committed() {
    let db = bank();
    execute(
        &mut db.app(),
        "INSERT INTO accounts VALUES (2, 0); INSERT INTO branches VALUES (2, 0)",
    );
    let (mut early, mut late) = (db.app(), db.app());
    execute(
        &mut early,
        "BEGIN; UPDATE accounts SET balance = 10 WHERE id = 1",
    );
    execute(
        &mut late,
        "BEGIN; UPDATE accounts SET balance = 20 WHERE id = 2; UPDATE branches SET balance = 20 WHERE id = 2; COMMIT",
    );
    let between = clock(&mut db.app());
    execute(
        &mut early,
        "UPDATE branches SET balance = 10 WHERE id = 1; COMMIT",
    );
    let after = clock(&mut db.app());
    let both = |moment| {
        accounts::table
            .inner_join(branches::table.on(branches::id.eq(accounts::id)))
            .order(accounts::id)
            .select((accounts::balance, branches::balance))
            .as_of(moment)
            .load::<(i32, i32)>(&mut db.auditor())
            .unwrap()
    };
    assert_eq!(both(between), [(0, 0), (20, 20)]);
    assert_eq!(both(after), [(10, 10), (20, 20)]);
}

/// A transaction that was open for more than ten seconds is found by another index.
#[test]
fn long_transactions_count_from_their_commit() {
    let db = bank();
    execute(&mut db.app(), &format!("BEGIN; {TRANSFER}; COMMIT"));
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica;
         UPDATE audit_changes SET captured_at = captured_at - interval '1 hour' WHERE op = 'insert';
         UPDATE audit_tables SET horizon = horizon - interval '2 hours', installed_at = installed_at - interval '2 hours';
         UPDATE audit_commits SET occurred_at = occurred_at - interval '1 hour', committed_at = committed_at - interval '1 hour'
         WHERE transaction_id IN (SELECT transaction_id FROM audit_changes WHERE op = 'insert');
         UPDATE audit_changes SET captured_at = captured_at - interval '30 minutes' WHERE op = 'update';
         UPDATE audit_commits SET occurred_at = occurred_at - interval '30 minutes'
         WHERE transaction_id IN (SELECT transaction_id FROM audit_changes WHERE op = 'update')",
    );
    let now = clock(&mut db.app());
    assert_eq!(balances(&db, now - chrono::TimeDelta::minutes(10)), (0, 0));
    assert_eq!(balances(&db, now), (1, 1));
}

#[test]
fn what_the_asking_transaction_did_is_not_there() {
    let db = bank();
    let mut app = db.app();
    execute(
        &mut app,
        &format!("BEGIN; {TRANSFER}; DELETE FROM branches"),
    );
    let query = branches::table
        .select(branches::balance)
        .as_of(diesel::dsl::sql("clock_timestamp()"));
    assert_eq!(query.load::<i32>(&mut app).unwrap(), [0]);
    // Sealed by itself, it is not committed either.
    execute(&mut app, "SET CONSTRAINTS ALL IMMEDIATE");
    let query = accounts::table
        .select(accounts::balance)
        .as_of(diesel::dsl::sql("clock_timestamp()"));
    assert_eq!(query.load::<i32>(&mut app).unwrap(), [0]);
    execute(&mut app, "ROLLBACK");
}

/// What commits after the snapshot isn't there.
#[test]
fn a_query_is_one_snapshot() {
    let db = bank();
    let mut reader = db.app();
    execute(
        &mut reader,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1",
    );
    execute(&mut db.app(), &format!("BEGIN; {TRANSFER}; COMMIT"));
    let moment = clock(&mut db.app());
    let total = accounts::table.select(sum(accounts::balance)).as_of(moment);
    assert_eq!(
        total
            .clone()
            .get_result::<Option<i64>>(&mut reader)
            .unwrap(),
        Some(0)
    );
    execute(&mut reader, "COMMIT");
    assert_eq!(
        total.get_result::<Option<i64>>(&mut reader).unwrap(),
        Some(1)
    );
}

#[test]
fn a_moment_is_settled_when_all_that_were_open_have_ended() {
    let db = bank();
    let mut open = db.app();
    execute(&mut open, &format!("BEGIN; {TRANSFER}"));
    let moment = clock(&mut db.app());
    assert!(!settled(&db, moment));
    execute(&mut open, "COMMIT");
    wait_until_settled(&mut db.auditor(), moment);
    assert!(!settled(&db, Utc::now() + chrono::TimeDelta::days(1)));
}

/// The commit marker that SET CONSTRAINTS writes at once is not the last.
#[test]
fn a_moment_before_the_commit_shows_nothing_of_immediate_constraints() {
    let db = bank();
    let mut open = db.app();
    execute(
        &mut open,
        &format!("BEGIN; {TRANSFER}; SET CONSTRAINTS ALL IMMEDIATE"),
    );
    let moment = clock(&mut db.app());
    assert_eq!(
        (settled(&db, moment), balances(&db, moment)),
        (false, (0, 0))
    );
    execute(&mut open, "COMMIT");
    wait_until_settled(&mut db.auditor(), moment);
    assert_eq!(balances(&db, moment), (0, 0));
}

#[test]
fn a_moment_between_the_seals_of_a_transaction_shows_none_of_it() {
    let db = bank();
    let mut open = db.app();
    execute(
        &mut open,
        "BEGIN; UPDATE accounts SET balance = 1; SET CONSTRAINTS ALL IMMEDIATE",
    );
    let sealed_once = clock(&mut db.app());
    execute(&mut open, "UPDATE branches SET balance = 1; COMMIT");
    assert_eq!(balances(&db, sealed_once), (0, 0));
}

#[test]
fn a_transaction_that_began_later_does_not_unsettle() {
    let db = bank();
    let moment = clock(&mut db.app());
    let mut open = db.app();
    execute(&mut open, &format!("BEGIN; {TRANSFER}"));
    // Whoever may see when it began knows; others don't.
    wait_until_settled(&mut db.superuser(), moment);
    assert!(!settled(&db, moment));
    execute(&mut open, "ROLLBACK");
    // The log knows of a transaction since the moment, which came first.
    execute(&mut db.app(), "INSERT INTO accounts VALUES (3, 0)");
    execute(&mut open, &format!("BEGIN; {TRANSFER}"));
    wait_until_settled(&mut db.auditor(), moment);
    execute(&mut open, "ROLLBACK");
}

#[test]
fn a_prepared_transaction_is_open_until_it_is_committed() {
    let db = bank();
    let mut app = db.app();
    let gid = format!("settled_{}", db.name());
    execute(&mut app, &format!("BEGIN; {TRANSFER}"));
    execute(&mut app, &format!("PREPARE TRANSACTION '{gid}'"));
    let moment = clock(&mut app);
    assert!(!settled(&db, moment));
    execute(&mut app, &format!("COMMIT PREPARED '{gid}'"));
    wait_until_settled(&mut db.auditor(), moment);
}

/// The snapshot of a repeatable transaction does not see who ended since.
#[test]
fn within_a_repeatable_transaction_nothing_settles() {
    let db = bank();
    let mut open = db.app();
    execute(&mut open, &format!("BEGIN; {TRANSFER}"));
    let moment = clock(&mut db.app());
    let mut reader = db.auditor();
    execute(
        &mut reader,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1",
    );
    execute(&mut open, "COMMIT");
    let asked = threadline::settled(moment);
    assert!(!asked.get_result::<bool>(&mut reader).unwrap());
    execute(&mut reader, "COMMIT");
    wait_until_settled(&mut reader, moment);
}

/// The log as a whole is not read: a seal is found by its time.
#[test]
fn late_transactions_are_found_by_the_time_of_their_commit() {
    let db = bank();
    let late = diesel::select(diesel::dsl::sql::<BigInt>(
        "cardinality(threadline_late(now() - interval '1 day'))::bigint",
    ));
    assert_eq!(late.get_result::<i64>(&mut db.auditor()).unwrap(), 0);
    assert_eq!(
        value(&mut db.auditor(), "SELECT threadline_late(now())"),
        json!([])
    );
}
