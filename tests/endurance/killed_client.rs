//! Bulk writes whose client is killed.

use std::path::Path;
use std::process::{Command, Stdio};

use threadline_tests::{TestDb, program, skip};

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
