//! C26: capture looks nothing up in the log, so writers don't meet there. That transaction ids may start again, and that
//! free-running writers don't meet either, is in `tests/endurance`.

use std::collections::BTreeSet;
use std::sync::Barrier;

use diesel::prelude::*;
use serde_json::json;
use threadline::Definition;
use threadline_tests::{TestDb, execute, rows, try_execute, value};

const WRITERS: usize = 8;
const ROUNDS: usize = 60;

/// Fails when `threadline_enter_v1` looks for the transaction's row before it inserts it
/// (`PERFORM FROM public.audit_transactions WHERE id = tx`), and when `audit_changes.transaction_id` has an
/// immediate foreign key.
#[test]
fn c26_serializable_writers_on_disjoint_rows_never_fail() {
    let db = TestDb::new();
    // PostgreSQL locks pages for want of better, so the writers' rows are pages apart, in the table and in its index,
    // and there is room for all their versions beside them.
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 40);
         CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
         INSERT INTO items SELECT i, 0 FROM generate_series(0, 7999) i;
         ANALYZE items",
    );
    assert_eq!(failures(&db), Vec::<String>::new(), "without capture");
    db.capture("items", Definition::new("Item", &["id"]));
    db.capture("notes", Definition::new("Note", &["id"]));
    assert_eq!(failures(&db), Vec::<String>::new());
    let count = value(&mut db.auditor(), "SELECT count(*) FROM audit_changes");
    assert_eq!(count, json!(WRITERS * ROUNDS * 2));
}

/// What the transactions that failed said, each thing once.
fn failures(db: &TestDb) -> Vec<String> {
    // All transactions of a round have written before the first of them commits.
    let written = Barrier::new(WRITERS);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let written = &written;
                scope.spawn(move || {
                    let mut app = db.app();
                    // A sequential scan would read all rows, and they would not be disjoint.
                    execute(&mut app, "SET enable_seqscan = off");
                    let mut failures = Vec::new();
                    for _ in 0..ROUNDS {
                        execute(&mut app, "BEGIN ISOLATION LEVEL SERIALIZABLE");
                        let write = format!(
                            "UPDATE items SET n = n + 1 WHERE id = {writer} * 1000; INSERT INTO notes DEFAULT VALUES"
                        );
                        let outcome = try_execute(&mut app, &write);
                        written.wait();
                        let outcome = outcome.and(try_execute(&mut app, "COMMIT"));
                        if let Err(error) = outcome {
                            execute(&mut app, "ROLLBACK");
                            failures.push(error);
                        }
                    }
                    failures
                })
            })
            .collect();
        let failures: BTreeSet<String> = writers
            .into_iter()
            .flat_map(|w| w.join().unwrap())
            .collect();
        failures.into_iter().collect()
    })
}

/// Fails when any path of a plain write reads the log, such as a lookup of the transaction in `threadline_record_v1`.
#[test]
fn c26_a_write_reads_and_updates_nothing_of_the_log() {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, n bigint NOT NULL)",
    );
    let mut app = db.app();
    app.test_transaction::<_, diesel::result::Error, _>(|app| {
        for sql in [
            "SELECT set_config('threadline.actor_ref', '{\"type\": \"user\", \"id\": \"1\"}', true)",
            "INSERT INTO items SELECT i, 0 FROM generate_series(1, 5) i",
            "UPDATE items SET n = 1",
            "DELETE FROM items WHERE id = 1",
        ] {
            execute(app, sql);
        }
        let touched = rows(
            app,
            "SELECT relname, coalesce(seq_scan, 0) AS seq, coalesce(idx_scan, 0) AS idx, n_tup_upd AS upd, n_tup_ins AS ins
             FROM pg_stat_xact_user_tables WHERE relname LIKE 'audit\\_%' AND n_tup_ins + n_tup_upd + coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0
             ORDER BY relname",
        );
        assert_eq!(
            touched,
            [
                json!({"relname": "audit_changes", "seq": 0, "idx": 0, "upd": 0, "ins": 11}),
                // The one scan is that of ON CONFLICT.
                json!({"relname": "audit_transactions", "seq": 0, "idx": 1, "upd": 0, "ins": 1}),
            ]
        );
        Ok(())
    });
}
