//! C26: writers at the highest isolation level, each at rows of its own, that run as fast as they can.

use std::thread;
use std::time::{Duration, Instant};

use threadline::Definition;
use threadline_tests::log::{assert_newest_images_equal_table, assert_nothing_is_orphaned};
use threadline_tests::{TestDb, execute, try_execute, value};

use crate::{alone, report};

const WRITERS: i64 = 8;
const CONTROL: Duration = Duration::from_secs(5);
const CAPTURED: Duration = Duration::from_secs(8);

/// When a transaction says who acts and records an action, if it does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Attributed {
    Never,
    Before,
    After,
}

/// Fails when `audit_changes.transaction_id` has a foreign key, when `threadline_enter_v1` looks for the transaction's row
/// before it inserts it (`PERFORM FROM public.audit_transactions WHERE id = tx`), and when `threadline_record_action_v1` finds
/// that row by its id and not by its place.
#[test]
fn c26_serializable_writers_are_not_made_to_fail() {
    let _alone = alone();
    let db = TestDb::new();
    // PostgreSQL locks pages for want of better, so every writer has pages of its own, in a table of its own.
    for writer in 1..=WRITERS {
        db.create(&format!(
            "CREATE TABLE items_{writer} (id bigint PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 40);
             INSERT INTO items_{writer} SELECT i, 0 FROM generate_series(1, 1000) i; ANALYZE items_{writer}"
        ));
    }
    let (committed, failures) = load(&db, CONTROL, Attributed::Never);
    assert!(committed > 0);
    assert_eq!(failures, Vec::<String>::new(), "without capture");

    for writer in 1..=WRITERS {
        db.capture(&format!("items_{writer}"), Definition::new("Item", &["id"]));
    }
    let mut total = 0;
    for attributed in [Attributed::Never, Attributed::Before, Attributed::After] {
        let (committed, failures) = load(&db, CAPTURED, attributed);
        assert_eq!(
            failures,
            Vec::<String>::new(),
            "{attributed:?}, of {committed}"
        );
        total += committed;
        report(&format!(
            "serializable, action {attributed:?}: {committed} transactions of 3 captured writes in {} s",
            CAPTURED.as_secs(),
        ));
    }
    // Each an update, an insert and a delete.
    let changes = value(&mut db.auditor(), "SELECT count(*) FROM audit_changes");
    assert_eq!(changes, total * 3);
    let unlinked = "SELECT count(*) FROM audit_actions a JOIN audit_transactions t ON t.id = a.transaction_id WHERE t.action_id IS DISTINCT FROM a.id";
    assert_eq!(value(&mut db.auditor(), unlinked), 0);
    assert_nothing_is_orphaned(&db);
    for writer in 1..=WRITERS {
        let table = format!("items_{writer}");
        execute(&mut db.owner(), &format!("DELETE FROM {table} WHERE n = 0"));
        assert_newest_images_equal_table(&db, &table);
    }
}

/// How many transactions committed, and what those that failed said.
fn load(db: &TestDb, time: Duration, attributed: Attributed) -> (i64, Vec<String>) {
    let end = Instant::now() + time;
    let outcomes = thread::scope(|scope| {
        let writers: Vec<_> = (1..=WRITERS)
            .map(|writer| scope.spawn(move || write(db, writer, end, attributed)))
            .collect();
        let join = |writer: thread::ScopedJoinHandle<'_, _>| writer.join().unwrap();
        writers.into_iter().map(join).collect::<Vec<_>>()
    });
    let committed = outcomes.iter().map(|(committed, _)| committed).sum();
    (
        committed,
        outcomes
            .into_iter()
            .flat_map(|(_, failures)| failures)
            .collect(),
    )
}

fn write(db: &TestDb, writer: i64, end: Instant, attributed: Attributed) -> (i64, Vec<String>) {
    let mut app = db.app();
    // A sequential scan locks the whole table; harmless, but slower with every version.
    execute(&mut app, "SET enable_seqscan = off");
    let (mut committed, mut failures) = (0, Vec::new());
    let action = |at| match attributed {
        _ if attributed != at => "",
        _ => "SELECT threadline_record_action_v1('item.replaced');",
    };
    let actor = match attributed {
        Attributed::Never => "",
        _ => r#"SELECT set_config('threadline.actor_ref', '{"type": "user", "id": "42"}', true);"#,
    };
    while Instant::now() < end {
        let id = 1 + committed % 1000;
        let transaction = format!(
            "BEGIN ISOLATION LEVEL SERIALIZABLE; {actor} {before}
             UPDATE items_{writer} SET n = n + 1 WHERE id = {id};
             INSERT INTO items_{writer} VALUES (-{id}, {committed});
             DELETE FROM items_{writer} WHERE id = -{id}; {after}
             COMMIT",
            before = action(Attributed::Before),
            after = action(Attributed::After),
        );
        match try_execute(&mut app, &transaction) {
            Ok(()) => committed += 1,
            Err(error) => {
                execute(&mut app, "ROLLBACK");
                failures.push(error);
            }
        }
    }
    (committed, failures)
}
