//! What is no evidence that a timestamp is settled: transactions that were copied into the log, and a log that is replicated.
//! What a standby answers is in `tests/endurance/replica.rs`.

use super::cut::{settled, wait_until_settled};
use super::*;
use threadline_tests::rows;

fn items() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text)",
    );
    execute(&mut db.app(), "INSERT INTO items VALUES (1)");
    db
}

/// Copies the newest transaction into the log, as one that began so much later and has this number.
fn copy_newest(db: &TestDb, later: &str, txid: i64) {
    execute(
        &mut db.superuser(),
        &format!(
            "SET session_replication_role = replica;
             INSERT INTO audit_transactions SELECT (jsonb_populate_record(t, jsonb_build_object('txid', '{txid}', 'id',
                 encode(timestamptz_send(t.occurred_at + interval '{later}') || int8send({txid}), 'hex')::uuid))).*
             FROM audit_transactions t ORDER BY t.id DESC LIMIT 1"
        ),
    );
}

#[test]
fn a_copied_transaction_is_no_evidence() {
    let db = items();
    let at = clock(&mut db.app());
    let mut open = db.app();
    execute(&mut open, "BEGIN; INSERT INTO items VALUES (2)");
    execute(&mut db.app(), "INSERT INTO items VALUES (3)");
    // By its number it got it before the open one, and began later.
    copy_newest(&db, "1 microsecond", 3);
    execute(&mut db.app(), "INSERT INTO items VALUES (4)");
    assert!(!settled(&db, at));
    execute(&mut open, "ROLLBACK");
    wait_until_settled(&mut db.auditor(), at);
}

/// A savepoint's rows have its number, but the commit marker that of the transaction.
#[test]
fn a_transaction_in_savepoints_is_evidence() {
    let db = items();
    let at = clock(&mut db.app());
    execute(
        &mut db.app(),
        "BEGIN; SAVEPOINT s; INSERT INTO items VALUES (2); RELEASE s; COMMIT",
    );
    let mut open = db.app();
    execute(&mut open, "BEGIN; INSERT INTO items VALUES (3)");
    // An auditor isn't told when that one began.
    wait_until_settled(&mut db.auditor(), at);
}

#[test]
fn nothing_settles_while_the_newest_transaction_is_a_copied_one() {
    let db = items();
    let at = clock(&mut db.app());
    wait_until_settled(&mut db.superuser(), at);
    copy_newest(&db, "1 second", 3);
    assert!(!settled(&db, at));
    // The asking transaction has no commit marker yet, and is none of the log's.
    let mut asking = db.superuser();
    execute(
        &mut asking,
        "BEGIN; SAVEPOINT s; INSERT INTO items VALUES (2); RELEASE s",
    );
    assert!(!settled_by(&mut asking, at));
    execute(&mut asking, "ROLLBACK");
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica; DELETE FROM audit_transactions WHERE txid = '3'",
    );
    execute(
        &mut asking,
        "BEGIN; SAVEPOINT s; INSERT INTO items VALUES (2); RELEASE s",
    );
    wait_until_settled(&mut asking, at);
}

fn settled_by(conn: &mut PgConnection, at: DateTime<Utc>) -> bool {
    threadline::settled(at).get_result(conn).unwrap()
}

/// As CREATE SUBSCRIPTION would note it.
fn subscribe(db: &TestDb, table: &str) {
    execute(
        &mut db.superuser(),
        &format!("INSERT INTO pg_subscription_rel VALUES (1, '{table}'::regclass, 'r', NULL)"),
    );
}

#[test]
fn nothing_settles_where_a_subscription_feeds_the_log() {
    for table in ["audit_transactions", "audit_changes", "audit_commits"] {
        let db = items();
        let at = clock(&mut db.app());
        subscribe(&db, "items");
        wait_until_settled(&mut db.superuser(), at);
        subscribe(&db, table);
        assert!(!settled(&db, at), "{table}");
    }
}

#[test]
fn nothing_settles_where_a_subscription_feeds_a_partition_of_the_log() {
    let db = items();
    execute(
        &mut db.superuser(),
        "ALTER TABLE audit_commits RENAME TO audit_commits_first;
         CREATE TABLE audit_commits (LIKE audit_commits_first) PARTITION BY RANGE (committed_at);
         ALTER TABLE audit_commits ATTACH PARTITION audit_commits_first DEFAULT;
         GRANT SELECT ON audit_commits TO threadline_reader",
    );
    let at = clock(&mut db.app());
    wait_until_settled(&mut db.superuser(), at);
    subscribe(&db, "audit_commits_first");
    assert!(!settled(&db, at));
}

/// Where a backslash is an escape, a string that has one says something else, or fails to compile.
#[test]
fn reads_answer_the_same_whatever_strings_are() {
    let db = items();
    let mut superuser = db.superuser();
    let mut answers = |strings: &str| {
        let settings =
            format!("SET escape_string_warning = off; SET standard_conforming_strings = {strings}");
        execute(&mut superuser, &settings);
        [
            "SELECT threadline_settled(now() - interval '1 hour') IS NOT NULL AS known",
            "SELECT threadline_history('items', '{\"id\": 1}')",
            "SELECT threadline_as_of('items', '{\"id\": 1}', 'infinity')",
            "SELECT threadline_moment(NULL::items, 'items', 'infinity')",
            "SELECT threadline_at(NULL, '{lower}'), threadline_late('infinity')",
            "SELECT threadline_key_places_v1('public', 'items', '{\"id\": 1}')",
            "SELECT threadline_walk_v1('user', '1', '{NULL}', NULL, NULL, '-infinity', 'infinity', 'DESC', 1)",
            "SELECT threadline_whole(c), threadline_state(c), threadline_earlier(c), threadline_had_or_has_v1(c, 'id', '1'),
                 threadline_judged_v1(c, 'items', '{\"id\": 1}'), threadline_never_v1('items', c.captured_at),
                 threadline_seen_v1(c.xmin, c.transaction_id, '1:1:'),
                 threadline_seen_on_standby_v1(c.xmin, c.transaction_id, '1:1:', 0),
                 threadline_revert(c.transaction_id, NULL, false, '{}')
             FROM audit_changes c",
            "SELECT threadline_standby_snapshot_v1('1:1:'), threadline_walk_goes_on_v1(0, '1:1:')",
            "SELECT threadline_names('items', 'name'), threadline_values('items', 'name', 'x'::text)",
        ]
        .map(|read| rows(&mut superuser, read))
    };
    assert_eq!(answers("off"), answers("on"));
}
