//! Bulk writes that are cancelled, time out, lose their session, or whose future is dropped.
//!
//! Each fails when the log loses a change, for instance to a BEFORE INSERT trigger that drops every hundredth id. All but
//! the last fail when changes are written over dblink, so that they outlive a rollback.

use std::sync::Arc;
use std::thread;

use diesel::result::Error;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline_tests::{TestDb, execute, value};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

use crate::bulk::{AFTER, BEFORE, BULK, Bulk, write_as};
use crate::{alone, user};

/// A bulk write that another session ends by calling `function` with its process.
fn ended_by(function: &str, message: &str) {
    let _alone = alone();
    let bulk = Bulk::new(TestDb::new());
    let gate = bulk.close_gate();
    let outcome = thread::scope(|scope| {
        let victim = scope.spawn(|| write_as(&mut bulk.db.app(), "victim", BULK));
        let pid = bulk.wait_until_captured();
        value(
            &mut bulk.db.superuser(),
            &format!("SELECT {function}({pid})"),
        );
        victim.join().unwrap()
    });
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
    drop(gate);
    bulk.assert_intact(BEFORE);
}

#[test]
fn a_cancelled_statement() {
    ended_by(
        "pg_cancel_backend",
        "canceling statement due to user request",
    );
}

#[test]
fn a_terminated_session() {
    ended_by(
        "pg_terminate_backend",
        "terminating connection due to administrator command",
    );
}

#[test]
fn a_statement_that_times_out() {
    let _alone = alone();
    let bulk = Bulk::new(TestDb::new());
    let gate = bulk.close_gate();
    // Long enough that capture is under way when it strikes, however slow the machine.
    for attempt in 0.. {
        let mut app = bulk.db.app();
        execute(
            &mut app,
            &format!("SET statement_timeout = '{}s'", 1 << attempt),
        );
        let error = write_as(&mut app, "victim", BULK).unwrap_err().to_string();
        assert_eq!(error, "canceling statement due to statement timeout");
        if bulk.has_captured(&mut bulk.db.superuser()) {
            break;
        }
        assert!(attempt < 5, "nothing was captured in {} s", 1 << attempt);
    }
    drop(gate);
    bulk.assert_intact(BEFORE);
}

/// Runs `work` on a connection of its own until its bulk write is being captured, then drops both.
fn dropped(work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<usize, Error>) -> Arc<Bulk> {
    let bulk = Arc::new(Bulk::new(TestDb::new()));
    let gate = bulk.close_gate();
    let pid = Runtime::new().unwrap().block_on(async {
        let mut app = AsyncPgConnection::establish(&bulk.db.url("tl_app"))
            .await
            .unwrap();
        let watched = Arc::clone(&bulk);
        let captured = spawn_blocking(move || watched.wait_until_captured());
        tokio::select! {
            outcome = work(&mut app) => panic!("it can't end: {outcome:?}"),
            pid = captured => pid.unwrap(),
        }
    });
    drop(gate);
    bulk.wait_until_gone(pid);
    bulk
}

/// The transaction lacks its COMMIT, so nothing of it remains.
#[test]
fn a_dropped_future_of_a_transaction() {
    let _alone = alone();
    let bulk = dropped(async |app| {
        threadline::asynch::transaction(app, &user("victim"), async |conn| {
            diesel::sql_query(BULK).execute(conn).await
        })
        .await
    });
    bulk.assert_intact(BEFORE);
}

/// A statement that is its own transaction was sent whole, so it commits although nobody waits for it.
#[test]
fn a_dropped_future_of_a_single_statement() {
    let _alone = alone();
    let bulk = dropped(async |app| diesel::sql_query(BULK).execute(app).await);
    bulk.assert_intact(AFTER);
}
