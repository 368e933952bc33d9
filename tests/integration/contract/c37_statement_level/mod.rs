//! C37: a table that is captured by statement. The log is the one that row level makes.

mod other_triggers;
mod policy;
mod refusals;
mod same_log;

use serde_json::Value;
use threadline::{Definition, Level};
use threadline_tests::{TestDb, execute, rows};

const ITEM: Definition = Definition::new("Item", &["id"]).store_changed_from();

/// A database whose tables, created by `create`, are captured with one definition.
fn captured(create: &str, tables: &[&str], definition: Definition) -> TestDb {
    let db = TestDb::new();
    db.create(create);
    for table in tables {
        db.capture(table, definition);
    }
    db
}

/// One table of items, captured by statement.
fn items(columns: &str) -> TestDb {
    let create = format!("CREATE TABLE items (id bigint PRIMARY KEY, {columns})");
    captured(&create, &["items"], ITEM.level(Level::Statement))
}

/// Every change, transaction by transaction and row by row, in the order of capture. What differs between two runs is left
/// out, and so is the order of different rows in one transaction.
fn log(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT dense_rank() OVER (ORDER BY first) AS transaction, table_name, table_pk, op, data_after, changed_fields, changed_from
         FROM (SELECT c.*, min(id) OVER (PARTITION BY transaction_id) AS first FROM audit_changes c) c
         ORDER BY transaction, table_name, table_pk::text, id",
    )
}

/// Runs the statements on the tables captured by row and on the same captured by statement: the logs are equal. Returns the
/// second database and its log.
fn same_log(
    create: &str,
    tables: &[&str],
    definition: Definition,
    statements: &[&str],
) -> (TestDb, Vec<Value>) {
    let run = |level| {
        let db = captured(create, tables, definition.level(level));
        let mut app = db.app();
        for statement in statements {
            execute(&mut app, statement);
        }
        let log = log(&db);
        (db, log)
    };
    let (_, by_row) = run(Level::Row);
    let (db, by_statement) = run(Level::Statement);
    for (index, (statement, row)) in by_statement.iter().zip(&by_row).enumerate() {
        assert_eq!(statement, row, "change {index}");
    }
    assert_eq!(by_statement.len(), by_row.len());
    (db, by_statement)
}
