//! Many rows in a statement, many subtransactions in a transaction, many tables in a connection.

use std::fs;

use scratch_postgres::ScratchPostgres;
use serde_json::json;
use threadline::{Definition, Level};
use threadline_tests::log::{assert_newest_images_equal_table, assert_nothing_is_orphaned};
use threadline_tests::{TestDb, cluster, execute, value};

use crate::{alone, report};

/// What a backend says of itself in /proc, in kB.
fn kilobytes(conn: &mut diesel::PgConnection, what: &str) -> u64 {
    let pid = value(conn, "pg_backend_pid()");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .unwrap_or_else(|| panic!("{what} in {status}"))
        .parse()
        .unwrap()
}

/// A kilobyte that is kept for each row would be 200 MB.
#[test]
fn a_statement_of_many_rows_takes_no_memory_for_each() {
    const ROWS: u64 = 200_000;
    let _alone = alone();
    let postgres = cluster(ScratchPostgres::builder().setting("shared_buffers", "16MB"));
    for level in [Level::Row, Level::Statement] {
        let db = TestDb::on(&postgres);
        db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text, doc jsonb)");
        db.capture(
            "items",
            Definition::new("Item", &["id"])
                .store_changed_from()
                .level(level),
        );
        let mut app = db.app();
        execute(
            &mut app,
            "INSERT INTO items VALUES (0, 'a', '{}'); UPDATE items SET name = 'b'; DELETE FROM items",
        );
        let before = kilobytes(&mut app, "VmHWM");
        for sql in [
            format!(
                "INSERT INTO items SELECT n, md5(n::text), jsonb_build_object('n', n) FROM generate_series(1, {ROWS}) n"
            ),
            "UPDATE items SET name = name || '!'".to_owned(),
            "DELETE FROM items".to_owned(),
        ] {
            execute(&mut app, &sql);
        }
        let grown = kilobytes(&mut app, "VmHWM") - before;
        assert_eq!(
            value(&mut db.auditor(), "(SELECT count(*) FROM audit_changes)"),
            3 * ROWS + 3
        );
        report(&format!(
            "{level:?} level: {ROWS} rows in a statement, {} MB more than before",
            grown / 1024
        ));
        assert!(grown < 120_000, "{level:?} level: {grown} kB");
    }
}

/// PostgreSQL keeps 64 of them for each backend; beyond that it looks into the file of transactions.
#[test]
fn a_transaction_of_many_subtransactions_is_seen_whole_or_not_at_all() {
    const WRITES: u64 = 10_000;
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text)",
    );
    let (mut app, mut auditor) = (db.app(), db.auditor());
    execute(
        &mut app,
        &format!(
            "BEGIN; DO $$ BEGIN FOR i IN 1..{WRITES} LOOP BEGIN INSERT INTO items VALUES (i, 'a'); EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END $$"
        ),
    );
    let at = value(&mut auditor, "to_jsonb(clock_timestamp()) #>> '{}'");
    let at = at.as_str().unwrap();
    let seen = format!(
        "jsonb_build_array(threadline_settled('{at}'), (SELECT count(*) FROM audit_changes),
             (SELECT count(*) FROM threadline_history('items', '{{\"id\": {WRITES}}}')),
             (SELECT count(*) FROM threadline_moment(NULL::items, 'items', '{at}')))"
    );
    assert_eq!(value(&mut auditor, &seen), json!([false, 0, 0, 0]));
    execute(&mut app, "COMMIT");
    let after = value(&mut auditor, &seen);
    assert_eq!(
        [&after[1], &after[2], &after[3]],
        [&json!(WRITES), &json!(1), &json!(0)]
    );
    assert_eq!(
        value(&mut auditor, "(SELECT count(*) FROM audit_transactions)"),
        1
    );
    assert_newest_images_equal_table(&db, "items");
    assert_nothing_is_orphaned(&db);
}

/// What a connection keeps of each table: the plans of its capture function.
#[test]
fn a_connection_writes_to_many_tables() {
    const TABLES: u64 = 1000;
    let _alone = alone();
    let db = TestDb::new();
    db.create(&format!(
        "DO $$ BEGIN FOR i IN 1..{TABLES} LOOP EXECUTE format('CREATE TABLE t%s (id bigint PRIMARY KEY, name text, doc jsonb)', i); END LOOP; END $$"
    ));
    for table in 1..=TABLES {
        db.capture(
            &format!("t{table}"),
            Definition::new("Model", &["id"]).store_changed_from(),
        );
    }
    let mut app = db.app();
    execute(&mut app, "INSERT INTO t1 VALUES (0); DELETE FROM t1");
    let before = kilobytes(&mut app, "RssAnon");
    for table in 1..=TABLES {
        execute(
            &mut app,
            &format!(
                "INSERT INTO t{table} VALUES (1, 'a', '{{}}'); UPDATE t{table} SET name = 'b'; DELETE FROM t{table}"
            ),
        );
    }
    let each = (kilobytes(&mut app, "RssAnon") - before) / TABLES;
    assert_eq!(
        value(&mut db.auditor(), "(SELECT count(*) FROM audit_changes)"),
        3 * TABLES + 2
    );
    report(&format!(
        "{TABLES} captured tables: {each} kB each in a connection that writes to all"
    ));
    assert!(each < 300, "{each} kB");
}
