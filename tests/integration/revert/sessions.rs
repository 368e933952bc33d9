//! Who reverts, and beside whom.

use std::thread;

use threadline::RevertError;

use super::*;

/// Waits until a session waits for the transaction of another one.
fn wait_for_a_lock(db: &TestDb) {
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'transactionid'",
        db.name()
    );
    let mut superuser = db.superuser();
    threadline_tests::wait_for("a session that waits", || {
        (value(&mut superuser, &waiting) == 1).then_some(())
    });
}

/// A row that somebody is writing to is waited for, and then seen as it is.
#[test]
fn rows_are_locked_before_they_are_compared() {
    let db = family();
    let transaction = work(&db, "UPDATE parents SET name = 'x' WHERE id = 1");
    let mut other = db.app();
    execute(
        &mut other,
        "BEGIN; UPDATE parents SET name = 'y' WHERE id = 1",
    );
    let error = thread::scope(|scope| {
        let reverting = scope.spawn(|| {
            // On one connection, as an application would.
            let mut conn = db.reverter();
            let plan = revert_transaction_plan(transaction)
                .get_result(&mut conn)
                .unwrap();
            assert_eq!(plan.conflicts(), []);
            plan.apply(&mut conn, &context()).unwrap_err()
        });
        wait_for_a_lock(&db);
        execute(&mut other, "COMMIT");
        reverting.join().unwrap()
    });
    assert!(matches!(error, RevertError::Undecided(_)), "{error}");
    assert_eq!(
        value(&mut db.owner(), "SELECT name FROM parents WHERE id = 1"),
        "y"
    );
}

#[test]
fn a_reader_may_preview_what_it_may_read_and_apply_nothing() {
    let db = family();
    let transaction = work(&db, "UPDATE parents SET name = 'x' WHERE id = 1");
    let mut auditor = db.auditor();
    let refused = revert_transaction_plan(transaction)
        .get_result(&mut auditor)
        .unwrap_err();
    assert!(
        refused.to_string().contains("permission denied"),
        "{refused}"
    );

    execute(
        &mut db.owner(),
        "GRANT SELECT ON parents, children TO tl_auditor",
    );
    let plan = revert_transaction_plan(transaction)
        .get_result(&mut auditor)
        .unwrap();
    assert_eq!(plan.steps().len(), 1);
    let error = plan.apply(&mut auditor, &context()).unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert!(matches!(error, RevertError::Database(_)));
}

/// A row that row level security hides is no row that is gone.
#[test]
fn hidden_rows_are_an_error() {
    let db = family();
    let transaction = work(&db, "INSERT INTO parents VALUES (0, 'hidden', NULL, NULL)");
    execute(
        &mut db.owner(),
        "ALTER TABLE parents ENABLE ROW LEVEL SECURITY; CREATE POLICY part ON parents USING (id > 1)",
    );
    let refused = revert_transaction_plan(transaction)
        .unscoped()
        .get_result(&mut db.reverter())
        .unwrap_err();
    assert!(
        refused.to_string().contains("row-level security"),
        "{refused}"
    );
}

/// Nothing else than the row itself is looked at.
#[test]
fn hidden_rows_of_a_table_without_other_keys_are_an_error() {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id int PRIMARY KEY, n int)");
    db.capture("items", threadline::Definition::new("Model", &["id"]));
    let transaction = work(&db, "INSERT INTO items VALUES (0, 1)");
    execute(
        &mut db.owner(),
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY part ON items USING (id > 1)",
    );
    let refused = revert_transaction_plan(transaction)
        .unscoped()
        .get_result(&mut db.reverter())
        .unwrap_err();
    assert!(
        refused.to_string().contains("row-level security"),
        "{refused}"
    );
}

/// Values are read and written alike in any session.
#[test]
fn settings_of_the_session_change_nothing() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE samples (id int PRIMARY KEY, at timestamptz, day date, span interval, raw bytea, ratio float8, cash money, tags text[])",
    );
    db.capture(
        "samples",
        threadline::Definition::new("Model", &["id"]).store_changed_from(),
    );
    execute(
        &mut db.app(),
        "INSERT INTO samples VALUES (1, '2026-03-15 10:30:00.123456Z', '2026-01-02', '-1 mon 2 days -03:04:05', '\\x00ff5c', 0.1::float8 + 0.2, 12.34, '{NULL,\"NULL\"}')",
    );
    let before = state(&db, &["samples"]);
    let settings = "SET timezone = 'Asia/Tokyo'; SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard'; SET extra_float_digits = -10;
        SET bytea_output = 'escape'; SET array_nulls = off";
    for sql in [
        "DELETE FROM samples",
        "UPDATE samples SET day = NULL",
        "UPDATE samples SET at = NULL, day = NULL, span = NULL, raw = NULL, ratio = NULL, cash = NULL, tags = NULL",
    ] {
        let transaction = work(&db, sql);
        let mut conn = db.reverter();
        execute(&mut conn, settings);
        let plan = revert_transaction_plan(transaction)
            .get_result(&mut conn)
            .unwrap();
        assert_eq!(plan.conflicts(), []);
        plan.apply(&mut conn, &context()).unwrap();
        assert_eq!(state(&db, &["samples"]), before);
    }
}
