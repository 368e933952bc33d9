//! What a revert takes: counted, whatever the number of rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::{Instrumentation, InstrumentationEvent};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline::Decision;

use super::*;

const FEW: usize = 10;
const MANY: usize = 1000;

/// Work on so many rows; each with the statements that its revert takes.
const WORK: [(&str, usize); 6] = [
    ("UPDATE parents SET name = 'x'", 1),
    (
        "INSERT INTO parents SELECT id + 100000, name FROM parents",
        1,
    ),
    ("DELETE FROM parents", 2),
    ("TRUNCATE parents CASCADE", 2),
    (
        "BEGIN; UPDATE parents SET name = 'y'; UPDATE parents SET total = 1; UPDATE children SET note = 'y'; COMMIT",
        2,
    ),
    (
        "UPDATE parents SET name = 'odd', total = CASE WHEN id % 2 = 1 THEN 1 END",
        2,
    ),
];

/// Parents with a child each.
fn families(rows: usize) -> TestDb {
    let db = family();
    execute(
        &mut db.app(),
        &format!(
            "DELETE FROM parents;
             INSERT INTO parents SELECT 10 + n, 'n' FROM generate_series(1, {rows}) n;
             INSERT INTO children (parent_id, note) SELECT 10 + n, 'c' FROM generate_series(1, {rows}) n"
        ),
    );
    db
}

/// Counts what is sent.
fn counted(counter: &Arc<AtomicUsize>) -> impl Instrumentation {
    let counter = Arc::clone(counter);
    move |event: InstrumentationEvent<'_>| {
        if matches!(event, InstrumentationEvent::StartQuery { .. }) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The queries of a plan and of its application.
fn round_trips(rows: usize, sql: &str, statements: usize) -> usize {
    let db = families(rows);
    let before = state(&db, &["parents", "children"]);
    let transaction = work(&db, sql);
    let counter = Arc::default();
    let mut conn = db.reverter();
    conn.set_instrumentation(counted(&counter));
    let plan = revert_transaction_plan(transaction)
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(plan.conflicts(), []);
    assert_eq!(plan.statements().count(), statements, "{}", plan.to_sql());
    plan.apply(&mut conn, &context()).unwrap();
    assert_eq!(state(&db, &["parents", "children"]), before);
    counter.load(Ordering::Relaxed)
}

#[test]
fn round_trips_do_not_depend_on_the_rows() {
    for (sql, statements) in WORK {
        let [few, many] = [FEW, MANY].map(|rows| round_trips(rows, sql, statements));
        assert_eq!(few, many, "{sql}");
        assert!(few <= 10, "{few} for {sql}");
    }
}

#[tokio::test]
async fn nor_asynchronously() {
    let mut counts = Vec::new();
    for rows in [FEW, MANY] {
        let db = families(rows);
        let before = state(&db, &["parents", "children"]);
        let transaction = work(&db, "DELETE FROM parents");
        let counter = Arc::default();
        let mut conn = AsyncPgConnection::establish(&db.url("tl_reverter"))
            .await
            .unwrap();
        conn.set_instrumentation(counted(&counter));
        let plan =
            diesel_async::RunQueryDsl::get_result(revert_transaction_plan(transaction), &mut conn)
                .await
                .unwrap();
        plan.apply_async(&mut conn, &context()).await.unwrap();
        assert_eq!(state(&db, &["parents", "children"]), before);
        counts.push(counter.load(Ordering::Relaxed));
    }
    assert_eq!(counts[0], counts[1]);
}

/// Of the log and of the tables, of which most rows are not part of what is reverted.
#[test]
fn what_a_plan_reads_grows_with_its_rows() {
    // So many that nobody reads all of them for a few.
    let db = families(20_000);
    execute(&mut db.superuser(), "VACUUM ANALYZE");
    let read = |rows: usize, sql: &str, scope: &str| {
        let id = format!("id BETWEEN 1001 AND {}", 1000 + rows);
        let transaction = work(&db, &sql.replace("ID", &id));
        let mut conn = db.reverter();
        let scope = scope.replace("TX", &transaction.to_string());
        execute(&mut conn, "BEGIN");
        value(
            &mut conn,
            &format!("SELECT count(threadline_revert('{transaction}', NULL, true, {scope}))"),
        );
        let read = value(
            &mut conn,
            "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int FROM pg_stat_xact_user_tables",
        );
        usize::try_from(read.as_u64().unwrap()).unwrap()
    };
    let everything = "ARRAY(SELECT id FROM audit_changes WHERE transaction_id = 'TX')";
    for (sql, scope) in [
        ("UPDATE parents SET name = name || 'x' WHERE ID", "NULL"),
        ("UPDATE parents SET name = name || 'x' WHERE ID", everything),
        (
            "UPDATE parents SET email = id || 'x' || random() WHERE ID",
            "NULL",
        ),
        (
            "UPDATE children SET parent_id = parent_id + 1 WHERE ID",
            "NULL",
        ),
        (
            "BEGIN; UPDATE parents SET name = 'y' WHERE ID; UPDATE parents SET name = name || 'z' WHERE ID; COMMIT",
            "NULL",
        ),
    ] {
        let [few, many] = [4, 16].map(|rows| read(rows, sql, scope));
        assert!(many < 16 * 20, "{many} rows were read for 16 of {sql}");
        assert!(many < 5 * few, "{few} and {many} rows were read for {sql}");
    }
}

/// What is decided for a row makes nothing but the rows that depend on it anew.
#[test]
fn many_conflicts_are_decided_at_once() {
    let db = families(MANY);
    let transaction = work(&db, "UPDATE parents SET name = 'x'");
    execute(
        &mut db.app(),
        "UPDATE parents SET name = 'later' WHERE id % 2 = 0; DELETE FROM parents WHERE id % 2 = 1",
    );
    let mut plan = plan(&db, transaction);
    plan.decide_all(|conflict| {
        Some(if conflict.may_force() {
            Decision::Force
        } else {
            Decision::Skip
        })
    })
    .unwrap();
    assert_eq!(plan.decisions().count(), MANY);
    assert_eq!(plan.steps().len(), MANY / 2);
    assert_eq!(
        plan.apply(&mut db.reverter(), &context()).unwrap().rows,
        MANY / 2
    );
}

/// A child keeps its parent, which many others let go.
#[test]
fn a_row_that_many_depend_on_is_asked_about_once_they_are_decided() {
    let db = families(FEW);
    let transaction = work(
        &db,
        "BEGIN; INSERT INTO parents VALUES (1000, 'p'); INSERT INTO children (parent_id, note) SELECT 1000, n FROM generate_series(1, 1000) n; COMMIT",
    );
    execute(
        &mut db.app(),
        "UPDATE children SET note = 'later' WHERE parent_id = 1000",
    );
    let mut plan = plan(&db, transaction);
    plan.decide_all(|conflict| (conflict.table == "public.children").then_some(Decision::Skip))
        .unwrap();
    let [conflict] = plan.conflicts() else {
        panic!("{:?}", plan.conflicts())
    };
    assert!(
        matches!(
            conflict.kind,
            ConflictKind::StillReferenced { rows: 1000, .. }
        ),
        "{conflict}"
    );
}

/// 100 tables with 10 rows each.
#[test]
fn many_tables_take_a_statement_each() {
    let db = TestDb::new();
    let tables: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    let create = |table: &String| format!("CREATE TABLE {table} (id int PRIMARY KEY, n int);");
    db.create(&tables.iter().map(create).collect::<String>());
    for table in &tables {
        db.capture(
            table,
            threadline::Definition::new("Model", &["id"]).store_changed_from(),
        );
    }
    let each = |sql: &str| -> String {
        let statements = tables.iter().map(|table| sql.replace("TABLE", table));
        format!("BEGIN; {} COMMIT", statements.collect::<String>())
    };
    work(
        &db,
        &each("INSERT INTO TABLE SELECT n, n FROM generate_series(1, 10) n;"),
    );
    let transaction = work(&db, &each("UPDATE TABLE SET n = 0;"));
    let plan = plan(&db, transaction);
    assert_eq!(plan.statements().count(), 100);
    assert_eq!(
        plan.apply(&mut db.reverter(), &context()).unwrap().rows,
        1000
    );
    assert_eq!(
        value(&mut db.owner(), "SELECT count(*) FROM t99 WHERE n = id"),
        10
    );
}
