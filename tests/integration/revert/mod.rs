//! Reverts, previewed and applied.

mod conflicts;
mod order;
mod parent_and_child;
mod property;
mod redacted;
mod scoped;
mod sessions;
mod sources;
mod work;

use diesel::prelude::*;
use threadline::{
    ActorRef, AuditContext, Conflict, ConflictKind, RevertPlan, revert_transaction_plan,
};
use threadline_tests::{TestDb, execute, rows, value};
use uuid::Uuid;

const CREATE: &str = "
    CREATE TABLE parents (id bigint PRIMARY KEY, name text NOT NULL, email text UNIQUE, total numeric);
    CREATE TABLE children (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent_id bigint NOT NULL REFERENCES parents ON DELETE CASCADE,
        note text, twice text GENERATED ALWAYS AS (note || note) STORED)";

fn family() -> TestDb {
    let db = TestDb::new();
    db.create(CREATE);
    for table in ["parents", "children"] {
        db.capture(
            table,
            threadline::Definition::new("Model", &["id"]).store_changed_from(),
        );
    }
    execute(
        &mut db.app(),
        "INSERT INTO parents VALUES (1, 'Ann', 'a@x', 120.00), (2, 'Ben', 'b@x', NULL);
         INSERT INTO children (parent_id, note) VALUES (1, 'n1'), (1, 'n2'), (2, 'n3')",
    );
    db
}

fn context() -> AuditContext {
    AuditContext::new(ActorRef::admin("ops-3").unwrap()).source("console")
}

/// Runs SQL in one transaction. Returns its id.
fn work(db: &TestDb, sql: &str) -> Uuid {
    execute(&mut db.app(), sql);
    newest_transaction(db)
}

fn newest_transaction(db: &TestDb) -> Uuid {
    let id = value(
        &mut db.auditor(),
        "SELECT transaction_id FROM audit_changes ORDER BY id DESC LIMIT 1",
    );
    id.as_str().unwrap().parse().unwrap()
}

fn plan(db: &TestDb, transaction: Uuid) -> RevertPlan {
    revert_transaction_plan(transaction)
        .get_result(&mut db.reverter())
        .unwrap()
}

/// Every row of the tables, as text, with each value as it prints.
fn state(db: &TestDb, tables: &[&str]) -> Vec<serde_json::Value> {
    let all = tables.iter().flat_map(|table| {
        rows(
            &mut db.owner(),
            &format!("SELECT '{table}' AS of, t::text AS row FROM {table} t ORDER BY t::text"),
        )
    });
    all.collect()
}

fn kinds(plan: &RevertPlan) -> Vec<(&str, String, &ConflictKind)> {
    plan.conflicts()
        .iter()
        .map(|conflict: &Conflict| {
            let key = conflict.key.iter().map(|(_, value)| value.to_string());
            (conflict.table.as_str(), key.collect(), &conflict.kind)
        })
        .collect()
}
