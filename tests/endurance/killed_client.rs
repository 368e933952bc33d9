//! Bulk writes whose client is killed.

use std::path::Path;
use std::process::{Command, Stdio};

use threadline::Definition;
use threadline_tests::{TestDb, execute, program, skip, value, wait_for};

use crate::alone;
use crate::bulk::{AFTER, BEFORE, BULK, Bulk};

/// A bulk write by psql, which sends these commands one by one and is killed in the middle of the capture.
fn killed(psql: &Path, commands: &[&str]) -> Bulk {
    let bulk = Bulk::new(TestDb::new());
    let gate = bulk.close_gate();
    let mut client = Command::new(psql);
    client.args(["-X", "-v", "ON_ERROR_STOP=1", &bulk.db.url("tl_app")]);
    for command in commands {
        client.args(["-c", command]);
    }
    let mut client = client.stdout(Stdio::null()).spawn().unwrap();
    let pid = bulk.wait_until_captured();
    client.kill().unwrap();
    client.wait().unwrap();
    drop(gate);
    // The server notices when it has an answer to send.
    bulk.wait_until_gone(pid);
    bulk
}

/// Fails when changes are written over dblink, so that they outlive a rollback, and when `threadline_enter_v1` leaves out
/// the transaction's row.
#[test]
fn a_killed_client() {
    let _alone = alone();
    let Some(psql) = program("psql") else {
        return skip("no psql; it comes with PostgreSQL's client programs");
    };
    // Its COMMIT was never sent.
    killed(&psql, &["BEGIN", BULK, "COMMIT"]).assert_intact(BEFORE);
    // A statement that is its own transaction goes through.
    killed(&psql, &[BULK]).assert_intact(AFTER);
}

/// The server learns of it when it has an answer to send, so nothing may keep it from one. Looking up each of the rows by itself
/// would take more than a minute.
#[test]
fn a_client_that_is_killed_while_a_revert_is_planned() {
    let _alone = alone();
    let Some(psql) = program("psql") else {
        return skip("no psql; it comes with PostgreSQL's client programs");
    };
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text UNIQUE)");
    db.capture(
        "items",
        Definition::new("Item", &["id"]).store_changed_from(),
    );
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items SELECT n, n FROM generate_series(1, 50000) n; UPDATE items SET name = name || '!'",
    );
    let revert = "SELECT length(threadline_revert(transaction_id, NULL, false, NULL)::text)
        FROM (SELECT transaction_id FROM audit_changes ORDER BY id DESC LIMIT 1) c";
    let mut client = Command::new(psql)
        .args(["-X", "-c", revert, &db.url("tl_reverter")])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut observer = db.superuser();
    let mut planning = |is: bool| {
        let planning = value(
            &mut observer,
            "(SELECT count(*) FROM pg_stat_activity WHERE usename = 'tl_reverter' AND datname = current_database() AND state = 'active')",
        );
        ((planning != 0) == is).then_some(())
    };
    wait_for("a plan", || planning(true));
    client.kill().unwrap();
    client.wait().unwrap();
    wait_for("the plan's end", || planning(false));
}
