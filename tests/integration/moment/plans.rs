//! How queries as of a moment are planned, over 100,000 changes.

use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use threadline::QueryAsOf;
use threadline_tests::{TestDb, execute, explain::explain, rows, value};

use super::{clock, let_the_application_read_the_log};

diesel::table! { items (id) { id -> BigInt, name -> Text, version -> Integer, } }

const ROWS: i64 = 20_000;

/// 20,000 rows with five changes each, 20 more in the middle, and 10,000 other transactions with their commits, of which
/// every 500th was open for a minute.
struct Large {
    db: TestDb,
    /// Before the 20 changes, and in the middle of the others.
    recent: DateTime<Utc>,
    old: DateTime<Utc>,
}

fn large() -> &'static Large {
    static LARGE: OnceLock<Large> = OnceLock::new();
    LARGE.get_or_init(|| {
        let db = TestDb::new();
        db.audited(
            "items",
            "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL, version integer NOT NULL)",
        );
        let mut app = db.app();
        execute(
            &mut app,
            &format!("INSERT INTO items SELECT n, 'item ' || n, 0 FROM generate_series(1, {ROWS}) n"),
        );
        execute(&mut app, "UPDATE items SET version = 1");
        execute(&mut app, "UPDATE items SET version = 2");
        let old = clock(&mut app);
        execute(&mut app, "UPDATE items SET version = 3");
        execute(&mut app, "UPDATE items SET version = 4");
        let recent = clock(&mut app);
        execute(&mut app, "UPDATE items SET version = 5 WHERE id <= 20");
        execute(
            &mut db.superuser(),
            "INSERT INTO audit_commits
             SELECT md5('t' || n)::uuid, at, at + CASE WHEN n % 500 = 0 THEN interval '60 s' ELSE interval '0.1 s' END
             FROM generate_series(1, 10000) n, LATERAL (SELECT '2026-01-01Z'::timestamptz + n * interval '1 s' AS at) a",
        );
        let_the_application_read_the_log(&db);
        execute(&mut db.superuser(), "VACUUM ANALYZE");
        Large { db, recent, old }
    })
}

/// What a table of the log was read for in this transaction: as a whole, and rows through indexes.
fn reads(conn: &mut PgConnection, table: &str) -> (i64, i64) {
    let counted = rows(
        conn,
        &format!(
            "SELECT seq_scan, coalesce(idx_tup_fetch, 0) AS fetched FROM pg_stat_xact_user_tables WHERE relname = '{table}'"
        ),
    );
    let number = |name| counted[0][name].as_i64().unwrap();
    (number("seq_scan"), number("fetched"))
}

/// How often an index was used in this transaction.
fn uses(conn: &mut PgConnection, index: &str) -> i64 {
    let used = format!("SELECT pg_stat_get_xact_numscans('{index}'::regclass)");
    value(conn, &used).as_i64().unwrap()
}

/// Once for all keys, and then change by change; the table itself is not read.
#[test]
fn a_table_is_the_newest_change_of_each_key() {
    let large = large();
    for (moment, version) in [(large.old, 2), (large.recent, 4)] {
        for mut conn in [large.db.auditor(), large.db.reverter()] {
            execute(&mut conn, "BEGIN");
            let query = items::table
                .filter(items::version.eq(version))
                .count()
                .as_of(moment);
            assert_eq!(query.get_result::<i64>(&mut conn).unwrap(), ROWS);
            assert_eq!(reads(&mut conn, "items"), (0, 0));
            assert!(uses(&mut conn, "audit_changes_pkey") >= ROWS);
            execute(&mut conn, "ROLLBACK");
        }
    }
}

/// Whoever has no right on the table gets the same from the log.
#[test]
fn an_auditor_needs_no_right_on_the_table() {
    let large = large();
    let mut auditor = large.db.auditor();
    let query = items::table.count();
    assert_eq!(
        query.as_of(large.recent).get_result::<i64>(&mut auditor),
        Ok(ROWS)
    );
    assert!(query.get_result::<i64>(&mut auditor).is_err());
}

#[test]
fn transactions_around_a_moment_are_found_by_the_time_of_their_commit() {
    let large = large();
    let mut auditor = large.db.auditor();
    execute(&mut auditor, "BEGIN");
    let late = value(
        &mut auditor,
        "SELECT array_agg(s.occurred_at ORDER BY s.occurred_at) FROM audit_commits s
         WHERE s.transaction_id = ANY (threadline_late('2026-01-01 00:50:10.05Z'))",
    );
    // The one that had begun a tenth of a second before, and the one that was open for a minute.
    assert_eq!(late.as_array().map(Vec::len), Some(2), "{late}");
    let (whole, _) = reads(&mut auditor, "audit_commits");
    assert!(whole <= 1, "the query here, but not threadline_late");
    for index in ["audit_commits_time", "audit_commits_long"] {
        assert!(uses(&mut auditor, index) > 0, "{index}");
    }
}

/// However many rows there are.
#[test]
fn nothing_is_compiled() {
    let large = large();
    let mut auditor = large.db.auditor();
    execute(&mut auditor, "SET jit = on");
    for moment in [large.recent, large.old, large.recent + TimeDelta::days(1)] {
        let plan = explain(&mut auditor, items::table.as_of(moment));
        assert!(plan.jit().is_null(), "{plan}");
    }
}
