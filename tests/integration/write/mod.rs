//! Audited transactions: who and why, on the way from the application to the log.

mod actions;
mod asynch;
mod context;
mod identity;
mod nesting;
mod pools;
mod refusals;
mod required;

use diesel::connection::{InstrumentationEvent, LoadConnection};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{Array, Text};
use serde_json::{Value, json};
use std::sync::mpsc::{Receiver, channel};
use threadline::schema::audit_transactions;
use threadline::{ActorRef, AuditContext, ContextError};
use threadline_tests::{TestDb, rows};
use uuid::Uuid;

diesel::table! {
    notes (id) { id -> BigInt, body -> Text }
}

/// A database with the captured table `notes`.
fn notes_db() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "notes",
        "CREATE TABLE notes (id bigint PRIMARY KEY, body text NOT NULL)",
    );
    db
}

fn user(id: impl std::fmt::Display) -> AuditContext {
    AuditContext::new(ActorRef::user(id).unwrap())
}

/// A context that leaves nothing empty.
fn full(id: &str) -> AuditContext {
    user(id)
        .source("billing")
        .request_id("req-7")
        .correlation_id("checkout-19")
        .job_id("8812")
        .metadata("tenant", "acme")
}

fn insert(conn: &mut impl LoadConnection<Backend = Pg>, id: i64) -> QueryResult<usize> {
    diesel::insert_into(notes::table)
        .values((notes::id.eq(id), notes::body.eq("text")))
        .execute(conn)
}

fn note_ids(conn: &mut impl LoadConnection<Backend = Pg>) -> Vec<i64> {
    notes::table
        .select(notes::id)
        .order(notes::id)
        .load(conn)
        .unwrap()
}

const SETTINGS: &str = "ARRAY[
    coalesce(current_setting('threadline.actor_ref', true), ''),
    coalesce(current_setting('threadline.source', true), ''),
    coalesce(current_setting('threadline.request_id', true), ''),
    coalesce(current_setting('threadline.correlation_id', true), ''),
    coalesce(current_setting('threadline.job_id', true), ''),
    coalesce(current_setting('threadline.meta', true), '')]";

/// The settings in force: actor, source, request, correlation, job, metadata.
fn settings(conn: &mut impl LoadConnection<Backend = Pg>) -> Vec<String> {
    diesel::select(sql::<Array<Text>>(SETTINGS))
        .get_result(conn)
        .unwrap()
}

const UNSET: [&str; 6] = [""; 6];

/// A stored transaction.
#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = audit_transactions)]
struct Transaction {
    id: Uuid,
    source: Option<String>,
    meta: Option<Value>,
    actor_ref: Option<ActorRef>,
    action_id: Option<Uuid>,
    request_id: Option<String>,
    correlation_id: Option<String>,
    job_id: Option<String>,
    session_user_name: String,
    role_name: Option<String>,
    application_name: Option<String>,
}

/// The stored transactions, oldest first.
fn transactions(db: &TestDb) -> Vec<Transaction> {
    audit_transactions::table
        .select(Transaction::as_select())
        .order(audit_transactions::occurred_at)
        .load(&mut db.auditor())
        .unwrap()
}

/// The key of every recorded change with the id of its transaction's actor, in order.
fn recorded(db: &TestDb) -> Vec<(i64, Option<String>)> {
    let changes = "SELECT (c.table_pk ->> 'id')::bigint AS note, t.actor_ref ->> 'id' AS actor
        FROM audit_changes c LEFT JOIN audit_transactions t ON t.id = c.transaction_id ORDER BY c.id";
    rows(&mut db.auditor(), changes)
        .into_iter()
        .map(|row| {
            (
                row["note"].as_i64().unwrap(),
                row["actor"].as_str().map(str::to_owned),
            )
        })
        .collect()
}

/// What [`recorded`] gives for notes of one actor.
fn by(actor: impl std::fmt::Display, notes: &[i64]) -> Vec<(i64, Option<String>)> {
    notes
        .iter()
        .map(|note| (*note, Some(actor.to_string())))
        .collect()
}

/// The reason why a context was refused, found as an application would find it.
fn context_error(error: &Error) -> &ContextError {
    match error {
        Error::QueryBuilderError(inner) => inner.downcast_ref().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// An application's error, as it comes: with a conversion from Diesel's and nothing else.
#[derive(Debug)]
enum AppError {
    Database(Error),
    Refused,
}

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// Receives the text of every statement that a connection sends from now on.
fn statements(conn: &mut impl Connection) -> Receiver<String> {
    let (seen, statements) = channel();
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let text = query.to_string();
            let text = text.split(" -- binds").next().unwrap_or_default();
            // Nobody listens any more once a test has seen enough.
            let _ = seen.send(text.to_owned());
        }
    });
    statements
}

fn actor_json(id: &str) -> String {
    json!({"type": "user", "id": id}).to_string()
}
