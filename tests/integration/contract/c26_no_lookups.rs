//! C26: capture looks nothing up in the log, so writers don't meet there and transaction ids may start again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;

use diesel::prelude::*;
use scratch_postgres::ScratchPostgres;
use serde_json::json;
use threadline::Definition;
use threadline_tests::{TestDb, execute, postgres, rows, try_execute, value};

const WRITERS: usize = 8;
const ROUNDS: usize = 60;

/// Fails when `threadline_open_v1` looks for the transaction's row before it inserts it
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

/// Fails when `threadline_transaction_id_v1` is made of the transaction id alone.
#[test]
fn c26_a_dump_in_a_younger_cluster_misattributes_nothing() {
    let db = TestDb::new();
    db.audited("items", "CREATE TABLE items (id bigint PRIMARY KEY, n bigint NOT NULL); INSERT INTO items VALUES (1, 0)");
    // Far enough that the younger cluster comes by the same transaction ids.
    write_as(&mut db.app(), "before", &burn(5_000), 100);

    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("audited.dump");
    let bin = postgres().bin_dir();
    run(
        bin,
        "pg_dump",
        &[
            "--format=custom",
            "--file",
            dump.to_str().unwrap(),
            &db.url("postgres"),
        ],
    );

    let younger = ScratchPostgres::start().unwrap();
    let mut superuser = PgConnection::establish(&younger.url("postgres")).unwrap();
    for sql in [
        "CREATE ROLE tl_owner LOGIN; CREATE ROLE tl_app LOGIN; CREATE ROLE tl_auditor LOGIN;
         CREATE ROLE threadline_reader; CREATE ROLE threadline_retention; GRANT threadline_reader TO tl_auditor",
        "CREATE DATABASE restored OWNER tl_owner",
    ] {
        execute(&mut superuser, sql);
    }
    let restored = younger.url("restored");
    run(
        bin,
        "pg_restore",
        &[
            "--exit-on-error",
            "--single-transaction",
            "--dbname",
            &restored,
            dump.to_str().unwrap(),
        ],
    );
    let mut auditor = PgConnection::establish(&younger.url_as("tl_auditor", "restored")).unwrap();
    let old = value(
        &mut auditor,
        "SELECT jsonb_build_object('first', min(txid::text::bigint), 'last', max(txid::text::bigint)) FROM audit_transactions",
    );
    let last_id = value(&mut auditor, "SELECT max(id) FROM audit_changes");
    let mut app = PgConnection::establish(&younger.url_as("tl_app", "restored")).unwrap();
    write_as(
        &mut app,
        "after",
        &burn(old["first"].as_i64().unwrap()),
        100,
    );

    let reused = value(
        &mut auditor,
        "SELECT count(*) FROM (SELECT txid FROM audit_transactions GROUP BY txid HAVING count(*) = 2) t",
    );
    assert!(
        reused.as_i64().unwrap() > 50,
        "only {reused} transaction ids came again, of {old}"
    );
    // The counter says which cluster wrote a change, and the transaction has to say the same.
    let attributed = rows(
        &mut auditor,
        "SELECT t.actor_ref ->> 'id' AS actor, count(*) AS changes, count(DISTINCT t.id) AS transactions,
                min((c.data_after ->> 'n')::bigint) AS first, max((c.data_after ->> 'n')::bigint) AS last
         FROM audit_changes c LEFT JOIN audit_transactions t ON t.id = c.transaction_id WHERE c.op = 'update'
         GROUP BY 1 ORDER BY 1 DESC",
    );
    assert_eq!(
        attributed,
        [
            json!({"actor": "before", "changes": 100, "transactions": 100, "first": 1, "last": 100}),
            json!({"actor": "after", "changes": 100, "transactions": 100, "first": 101, "last": 200}),
        ]
    );
    let first_new = value(
        &mut auditor,
        "SELECT min(id) FROM audit_changes WHERE (data_after ->> 'n')::bigint > 100",
    );
    assert!(
        first_new.as_i64() > last_id.as_i64(),
        "{first_new} comes after {last_id}"
    );
    let history = value(
        &mut auditor,
        "SELECT array_agg(data_after -> 'n' ORDER BY id) FROM threadline_history('items', '{\"id\": 1}')",
    );
    assert_eq!(history, json!((1..=200).collect::<Vec<_>>()));
    let sealed = value(
        &mut auditor,
        "SELECT count(DISTINCT transaction_id) FROM audit_commits",
    );
    assert_eq!(sealed, json!(200));
}

/// `writes` transactions of one change each.
fn write_as(app: &mut PgConnection, actor: &str, burn: &str, writes: usize) {
    execute(app, burn);
    execute(
        app,
        &format!(
            "DO $$ BEGIN
               FOR i IN 1..{writes} LOOP
                 PERFORM set_config('threadline.actor_ref', '{{\"type\": \"user\", \"id\": \"{actor}\"}}', true);
                 UPDATE items SET n = n + 1 WHERE id = 1;
                 COMMIT;
               END LOOP; END $$"
        ),
    );
}

/// Uses up transaction ids until `xid`.
fn burn(xid: i64) -> String {
    format!(
        "DO $$ BEGIN WHILE pg_current_xact_id()::text::bigint < {xid} LOOP COMMIT; END LOOP; COMMIT; END $$"
    )
}

fn run(bin: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(bin.join(program))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
