use threadline_tests::{TestDb, execute, rows, value};

fn counter() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "counters",
        "CREATE TABLE counters (id bigint PRIMARY KEY, n bigint NOT NULL)",
    );
    execute(&mut db.app(), "INSERT INTO counters VALUES (1, 0), (2, 0)");
    db
}

#[test]
fn c02_ids_come_from_an_uncached_bigint_sequence() {
    let db = TestDb::new();
    let sequence = rows(
        &mut db.owner(),
        "SELECT seqtypid::regtype::text AS type, seqcache AS cache, seqincrement AS step, seqcycle AS cycle
         FROM pg_sequence WHERE seqrelid = pg_get_serial_sequence('audit_changes', 'id')::regclass",
    );
    assert_eq!(
        sequence,
        [serde_json::json!({"type": "bigint", "cache": 1, "step": 1, "cycle": false})]
    );
    assert_eq!(
        value(
            &mut db.owner(),
            "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'audit_changes'::regclass AND attname = 'id'"
        ),
        "bigint"
    );
}

/// Eight writers of one row: whoever gets the row next also gets the next id.
#[test]
fn c02_ids_order_the_changes_of_one_row() {
    let db = counter();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut app = db.app();
                for _ in 0..20 {
                    execute(&mut app, "UPDATE counters SET n = n + 1 WHERE id = 1");
                }
            });
        }
    });
    let recorded = rows(
        &mut db.auditor(),
        "SELECT (data_after ->> 'n')::integer AS n FROM audit_changes WHERE table_pk = '{\"id\": \"1\"}' ORDER BY id",
    );
    let recorded: Vec<_> = recorded.iter().map(|row| row["n"].as_i64()).collect();
    assert_eq!(recorded, (0..=160).map(Some).collect::<Vec<_>>());
}

/// The trap for every reader that follows `id > last`: a lower id becomes visible after a higher one.
#[test]
fn c02_ids_do_not_stand_for_commit_order() {
    let db = counter();
    let (mut early, mut late, mut auditor) = (db.app(), db.app(), db.auditor());
    let visible = "SELECT array_agg((table_pk ->> 'id')::integer ORDER BY id) FROM audit_changes WHERE op = 'update'";
    execute(&mut early, "BEGIN");
    execute(&mut early, "UPDATE counters SET n = 1 WHERE id = 1");
    execute(&mut late, "UPDATE counters SET n = 1 WHERE id = 2");
    assert_eq!(value(&mut auditor, visible), serde_json::json!([2]));
    execute(&mut early, "COMMIT");
    assert_eq!(value(&mut auditor, visible), serde_json::json!([1, 2]));
}

/// What a feed goes by instead: the transaction ids of the log, against a snapshot.
#[test]
fn c02_visibility_tells_what_a_reader_has_missed() {
    let db = counter();
    let (mut early, mut late, mut auditor) = (db.app(), db.app(), db.auditor());
    let unseen_by = |snapshot: &str| {
        format!(
            "SELECT array_agg((c.table_pk ->> 'id')::integer ORDER BY c.id) FROM audit_changes c
             JOIN audit_transactions t ON t.id = c.transaction_id
             WHERE NOT pg_visible_in_snapshot(t.txid, '{snapshot}')"
        )
    };
    execute(&mut early, "BEGIN");
    execute(&mut early, "UPDATE counters SET n = 1 WHERE id = 1");
    execute(&mut late, "UPDATE counters SET n = 1 WHERE id = 2");
    let snapshot = value(&mut auditor, "SELECT pg_current_snapshot()::text");
    let snapshot = snapshot.as_str().unwrap();
    assert!(value(&mut auditor, &unseen_by(snapshot)).is_null());
    execute(&mut early, "COMMIT");
    assert_eq!(
        value(&mut auditor, &unseen_by(snapshot)),
        serde_json::json!([1])
    );
}
