//! Bulk writes under which the server goes down, on clusters of their own. Nothing is synced to disk there, which matters
//! when a machine goes down: what a killed process has handed to the system survives it.
//!
//! Both fail when `audit_changes` is UNLOGGED, and when changes are written over dblink.

use std::fs;
use std::thread;

use diesel::prelude::*;
use scratch_postgres::ScratchPostgres;
use serde_json::json;
use threadline_tests::log::assert_newest_images_equal_table;
use threadline_tests::{TestDb, cluster, rows, value, wait_for};

use crate::alone;
use crate::bulk::{BEFORE, BULK, Bulk, kill, write_as};

/// Commits one write after the other until the server is gone, or enough. Returns how many it was told are committed.
fn count_up(db: &TestDb) -> i64 {
    let mut app = db.app();
    let mut committed = 0;
    while committed < 20_000
        && write_as(&mut app, "counter", "UPDATE counter SET n = n + 1").is_ok()
    {
        committed += 1;
    }
    committed
}

/// The server goes down by `crash`, which is given the process that runs a bulk write, and `restart` waits for it.
fn goes_down(crash: impl FnOnce(&Bulk, i64), restart: impl FnOnce(&ScratchPostgres)) {
    let _alone = alone();
    // A commit that was acknowledged has reached the system at least.
    let postgres = cluster(ScratchPostgres::builder().setting("synchronous_commit", "on"));
    let bulk = Bulk::new(TestDb::on(&postgres));
    bulk.db.audited("counter", "CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL); INSERT INTO counter VALUES (1, 0)");
    let gate = bulk.close_gate();
    let (outcome, committed) = thread::scope(|scope| {
        let counter = scope.spawn(|| count_up(&bulk.db));
        let victim = scope.spawn(|| write_as(&mut bulk.db.app(), "victim", BULK));
        let pid = bulk.wait_until_captured();
        let mut superuser = bulk.db.superuser();
        // The commit before the second write was acknowledged.
        wait_for("two commits of the counter", || {
            (value(&mut superuser, "SELECT n > 1 FROM counter") == true).then_some(())
        });
        crash(&bulk, pid);
        (victim.join().unwrap(), counter.join().unwrap())
    });
    outcome.unwrap_err();
    drop(gate);
    restart(&postgres);
    assert!(
        postgres.log().contains("automatic recovery in progress"),
        "{}",
        postgres.log()
    );

    bulk.assert_intact(BEFORE);
    assert!(committed > 0);
    let mut auditor = bulk.db.superuser();
    let n = value(&mut auditor, "SELECT n FROM counter");
    assert!(
        n == committed || n == committed + 1,
        "{committed} commits were acknowledged, and {n} are there"
    );
    assert_eq!(
        value(
            &mut auditor,
            "SELECT array_agg(data_after -> 'n' ORDER BY id) FROM threadline_history('counter', '{\"id\": 1}')"
        ),
        json!((1..=n.as_i64().unwrap()).collect::<Vec<_>>())
    );
    write_as(&mut bulk.db.app(), "next", "UPDATE counter SET n = n + 1").unwrap();
    assert_newest_images_equal_table(&bulk.db, "counter");
}

#[test]
fn one_killed_backend_takes_all_down() {
    goes_down(
        |_, pid| kill(&[pid]),
        |postgres| {
            let url = postgres.url("postgres");
            wait_for("the server to recover", || {
                PgConnection::establish(&url).ok()
            });
        },
    );
}

#[test]
fn the_whole_server_is_killed_and_started_again() {
    goes_down(
        |bulk, _| kill(&processes(&bulk.db)),
        |postgres| postgres.crash_and_restart().unwrap(),
    );
}

/// The postmaster first, so that it doesn't put anybody in the place of the others, which are all of its children.
fn processes(db: &TestDb) -> Vec<i64> {
    let file = fs::read_to_string(db.postgres().dir().join("data/postmaster.pid")).unwrap();
    let postmaster = file.lines().next().unwrap().parse().unwrap();
    let mut superuser = db.superuser();
    let children = rows(&mut superuser, "SELECT pid FROM pg_stat_activity");
    [postmaster]
        .into_iter()
        .chain(children.iter().map(|child| child["pid"].as_i64().unwrap()))
        .collect()
}
