//! C2: a walk of pages sees what had committed when it began, whatever commits meanwhile.

use threadline_tests::value;

use super::*;

/// Items 1 to 4 of which the odd ones were written by transactions that are still open, each with a row that was written in
/// a savepoint: 11 and 13. The open ones were captured first, so they end up in the middle of the list.
fn half_open() -> (TestDb, Vec<PgConnection>) {
    let db = items(0);
    let mut open = Vec::new();
    for row in 1..=4 {
        let mut app = db.app();
        execute(&mut app, "BEGIN");
        execute(&mut app, &format!("INSERT INTO items VALUES ({row})"));
        if row % 2 == 1 {
            execute(
                &mut app,
                &format!("SAVEPOINT s; INSERT INTO items VALUES ({row} + 10); RELEASE s"),
            );
            open.push(app);
        } else {
            execute(&mut app, "COMMIT");
        }
    }
    (db, open)
}

fn keys(changes: &[AuditChange]) -> Vec<String> {
    changes
        .iter()
        .map(|change| change.key["id"].as_str().unwrap())
        .collect()
}

fn rest(conn: &mut PgConnection, first: Page<AuditChange>, oldest_first: bool) -> Vec<String> {
    let mut walked = keys(&first.entries);
    let mut cursor = first.cursor;
    while let Some(at) = cursor {
        let page = page(conn, &TimelineFilter::new(), oldest_first, 1, Some(&at));
        walked.extend(keys(&page.entries));
        cursor = page.cursor;
    }
    walked
}

#[test]
fn what_commits_during_a_walk_is_not_part_of_it() {
    for oldest_first in [false, true] {
        let (db, open) = half_open();
        let mut conn = db.auditor();
        let first = page(&mut conn, &TimelineFilter::new(), oldest_first, 1, None);
        assert!(first.has_more);
        for mut app in open {
            execute(&mut app, "COMMIT");
        }
        execute(&mut db.app(), "INSERT INTO items VALUES (5)");
        let expected = if oldest_first { ["2", "4"] } else { ["4", "2"] };
        assert_eq!(rest(&mut conn, first, oldest_first), expected);
        // A walk that begins now sees them all.
        let all = walk(&mut conn, &TimelineFilter::new(), true, 2);
        assert_eq!(keys(&all), ["1", "11", "2", "3", "13", "4", "5"]);
    }
}

#[test]
fn neither_on_the_way_back() {
    let (db, open) = half_open();
    let mut conn = db.auditor();
    let first = page(&mut conn, &TimelineFilter::new(), false, 1, None);
    let last = page(
        &mut conn,
        &TimelineFilter::new(),
        false,
        1,
        first.cursor.as_ref(),
    );
    for mut app in open {
        execute(&mut app, "COMMIT");
    }
    let back = page(
        &mut conn,
        &TimelineFilter::new(),
        false,
        1,
        last.back.as_ref(),
    );
    assert_eq!(back, first);
}

/// A walk inside the transaction that wrote sees what it wrote before, and not what it writes on.
#[test]
fn the_readers_own_changes() {
    let db = items(1);
    let mut conn = db.superuser();
    execute(&mut conn, "BEGIN");
    execute(&mut conn, "INSERT INTO items VALUES (2)");
    execute(
        &mut conn,
        "SAVEPOINT s; INSERT INTO items VALUES (3); RELEASE s",
    );
    let first = page(&mut conn, &TimelineFilter::new(), true, 1, None);
    assert_eq!(rest(&mut conn, first, true), ["1", "2", "3"]);
}

/// Restores the log from a cluster with other numbers: every row is written anew, and names another transaction.
fn restore(conn: &mut PgConnection, txid: &str) {
    execute(conn, "SET session_replication_role = replica");
    execute(
        conn,
        &format!(
            "UPDATE audit_changes SET transaction_id = (lpad(to_hex(id), 16, '0') || lpad(to_hex({txid}), 16, '0'))::uuid"
        ),
    );
}

const FOREIGN: &str = "9007199254740991 + id";

#[test]
fn a_log_restored_into_a_younger_cluster_is_whole() {
    let db = items(4);
    restore(&mut db.superuser(), FOREIGN);
    let mut conn = db.auditor();
    assert_eq!(
        keys(&walk(&mut conn, &TimelineFilter::new(), true, 1)),
        ["1", "2", "3", "4"]
    );
}

/// Beside a transaction that is older than the restored rows, so that these aren't known to be seen by their age.
#[test]
fn a_log_restored_beside_an_open_transaction_is_whole() {
    let db = items(4);
    let mut open = db.app();
    execute(&mut open, "BEGIN; INSERT INTO items VALUES (5)");
    restore(&mut db.superuser(), FOREIGN);
    let mut conn = db.auditor();
    assert_eq!(
        keys(&walk(&mut conn, &TimelineFilter::new(), true, 1)),
        ["1", "2", "3", "4"]
    );
}

/// The number of the transaction that the connection has open, or of one that ends with the question.
fn number(conn: &mut PgConnection) -> i64 {
    value(conn, "SELECT pg_current_xact_id()::text::bigint")
        .as_i64()
        .unwrap()
}

/// Numbers collide: the restored rows name the transaction that is open now.
#[test]
fn restored_rows_are_not_those_of_an_open_transaction_with_their_number() {
    let db = items(4);
    // In this order of their numbers, whoever else takes some meanwhile: one that stays open, so that the rows aren't known
    // to be seen by their age; the rows' own; the one that they name; one that ends, so that snapshots list that as running.
    let mut older = db.superuser();
    execute(&mut older, "BEGIN");
    let older_id = number(&mut older);
    let mut restoring = db.superuser();
    execute(&mut restoring, "BEGIN");
    let restoring_id = number(&mut restoring);
    let mut open = db.superuser();
    execute(&mut open, "BEGIN; INSERT INTO items VALUES (5)");
    let open_id = number(&mut open);
    assert!(older_id < restoring_id && restoring_id < open_id);
    assert!(open_id < number(&mut db.superuser()));
    restore(&mut restoring, &open_id.to_string());
    execute(&mut restoring, "COMMIT");
    let mut conn = db.auditor();
    let first = page(&mut conn, &TimelineFilter::new(), true, 1, None);
    execute(&mut open, "COMMIT");
    assert_eq!(rest(&mut conn, first, true), ["1", "2", "3", "4"]);
}

/// Rows that are restored during a walk aren't part of it either, whatever they name.
#[test]
fn what_is_restored_during_a_walk_is_not_part_of_it() {
    let db = items(2);
    let mut conn = db.auditor();
    let first = page(&mut conn, &TimelineFilter::new(), true, 1, None);
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica;
         INSERT INTO audit_changes SELECT (jsonb_populate_record(c, jsonb_build_object('id', c.id + 100,
             'transaction_id', '00000000-0000-0001-0000-000000000001'))).* FROM audit_changes c WHERE id = 2",
    );
    assert_eq!(rest(&mut conn, first, true), ["1", "2"]);
}
