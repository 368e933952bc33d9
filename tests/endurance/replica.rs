//! What a streaming replica answers: the same as its primary, and never that a timestamp is settled while a transaction that
//! was open then may still become visible.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use scratch_postgres::ScratchPostgres;
use threadline_tests::{TestDb, cluster, execute, postgres, rows, skip, value, wait_for};

use crate::alone;

/// A database with the captured table `items`, and a replica of its cluster.
pub struct Pair {
    pub db: TestDb,
    pub replica: ScratchPostgres,
}

impl Pair {
    /// `None`, and the reason, where the server's package can't make replicas.
    pub fn start() -> Option<Self> {
        if !postgres().can_replicate() {
            skip("no pg_basebackup beside the server; it comes with PostgreSQL's own packages");
            return None;
        }
        // What is committed is flushed at once, and so sent.
        let primary = cluster(
            ScratchPostgres::builder()
                .setting("synchronous_commit", "on")
                .setting("autovacuum", "off")
                .setting("max_prepared_transactions", "10"),
        );
        let db = TestDb::on(&primary);
        db.audited(
            "items",
            "CREATE TABLE items (id bigint PRIMARY KEY, name text)",
        );
        let replica = replica(&primary);
        Some(Self { db, replica })
    }

    /// Waits until the replica has replayed what the primary has committed.
    pub fn catch_up(&self) {
        let sent = value(&mut self.db.superuser(), "pg_current_wal_flush_lsn()");
        let replayed = format!("pg_last_wal_replay_lsn() >= {sent}").replace('"', "'");
        let mut replica = self.on_replica("postgres");
        wait_for("the replica to catch up", || {
            (value(&mut replica, &replayed) == true).then_some(())
        });
    }

    pub fn on_replica(&self, role: &str) -> PgConnection {
        let url = self.replica.url_as(role, self.db.name());
        PgConnection::establish(&url).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Whether the replica calls it settled, which everyone who asks is told alike.
    fn settled(&self, at: DateTime<Utc>) -> bool {
        let [auditor, superuser] =
            ["tl_auditor", "postgres"].map(|role| settled(&mut self.on_replica(role), at));
        assert_eq!(auditor, superuser);
        auditor
    }

    /// What both servers answer to a query.
    fn answers(&self, sql: &str) -> Vec<serde_json::Value> {
        let answer = rows(&mut self.db.auditor(), sql);
        assert_eq!(rows(&mut self.on_replica("tl_auditor"), sql), answer);
        answer
    }
}

fn replica(primary: &Arc<ScratchPostgres>) -> ScratchPostgres {
    primary
        .replica()
        .setting("max_prepared_transactions", "10")
        .start()
        .unwrap_or_else(|error| panic!("{error}"))
}

pub fn settled(conn: &mut PgConnection, at: DateTime<Utc>) -> bool {
    threadline::settled(at).get_result(conn).unwrap()
}

pub fn clock(conn: &mut PgConnection) -> DateTime<Utc> {
    diesel::select(diesel::dsl::sql::<Timestamptz>("clock_timestamp()"))
        .get_result(conn)
        .unwrap()
}

/// More savepoints than a transaction's entry in shared memory has room for.
const MANY_SAVEPOINTS: &str = "DO $$ BEGIN FOR i IN 1001..1100 LOOP
    BEGIN INSERT INTO items VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$";

/// Fails when a standby is asked as a primary is: neither its locks nor its snapshots show what runs there.
#[test]
fn a_timestamp_settles_on_a_replica_when_all_that_were_open_have_ended() {
    let _alone = alone();
    let Some(pair) = Pair::start() else { return };
    let mut app = pair.db.app();
    let mut open = [pair.db.app(), pair.db.app(), pair.db.app()];
    execute(&mut open[0], "BEGIN; INSERT INTO items VALUES (2)");
    execute(
        &mut open[1],
        &format!("BEGIN; INSERT INTO items VALUES (3); {MANY_SAVEPOINTS}"),
    );
    execute(
        &mut open[2],
        "BEGIN; INSERT INTO items VALUES (4); SAVEPOINT s; INSERT INTO items VALUES (5); RELEASE s; PREPARE TRANSACTION 'two'",
    );
    let at = clock(&mut app);
    execute(&mut app, "INSERT INTO items VALUES (6)");
    pair.catch_up();
    assert!(!pair.settled(at));
    let mut repeatable = pair.on_replica("tl_auditor");
    execute(
        &mut repeatable,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1",
    );

    for (ended, end) in [(0, "COMMIT"), (1, "COMMIT")] {
        execute(&mut open[ended], end);
        pair.catch_up();
        assert!(!pair.settled(at), "{ended}");
    }
    // What is prepared survives the replica's own restarts too.
    drop(repeatable);
    pair.replica.crash_and_restart().unwrap();
    pair.catch_up();
    assert!(!pair.settled(at));
    let mut repeatable = pair.on_replica("tl_auditor");
    execute(
        &mut repeatable,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1",
    );
    execute(&mut open[2], "COMMIT PREPARED 'two'");
    pair.catch_up();
    assert!(pair.settled(at));
    // Its snapshot is older.
    assert!(!settled(&mut repeatable, at));
    execute(&mut repeatable, "COMMIT");
    assert!(settled(&mut repeatable, at));

    for id in [2, 3, 4, 5, 1100] {
        let key = format!("'items', '{{\"id\": {id}}}'");
        let history = pair.answers(&format!("SELECT * FROM threadline_history({key})"));
        assert_eq!(history.len(), 1, "{id}");
        pair.answers(&format!("SELECT * FROM threadline_as_of({key}, '{at}')"));
    }
    // Sealed before the timestamp, at PREPARE, though it committed later.
    let table =
        format!("SELECT id FROM threadline_moment(NULL::items, 'items', '{at}') ORDER BY id");
    assert_eq!(pair.answers(&table).len(), 2);
}

/// Only a later transaction of the log proves that all that had written by then are known here.
#[test]
fn a_timestamp_after_the_newest_transaction_is_not_known_to_be_settled_on_a_replica() {
    let _alone = alone();
    let Some(pair) = Pair::start() else { return };
    let mut app = pair.db.app();
    execute(&mut app, "INSERT INTO items VALUES (1)");
    let at = clock(&mut app);
    pair.catch_up();
    assert!(!pair.settled(at));
    wait_for("the primary to settle it", || {
        settled(&mut pair.db.superuser(), at).then_some(())
    });
    execute(&mut app, "INSERT INTO items VALUES (2)");
    pair.catch_up();
    assert!(pair.settled(at));
    // One that began before it and got its number first may have written by then.
    let mut open = pair.db.app();
    execute(&mut open, "BEGIN; INSERT INTO items VALUES (3)");
    let at = clock(&mut app);
    execute(&mut app, "INSERT INTO items VALUES (4)");
    pair.catch_up();
    assert!(!pair.settled(at));
    execute(&mut open, "ROLLBACK");
    // Its end is not flushed on its own.
    execute(&mut app, "INSERT INTO items VALUES (5)");
    pair.catch_up();
    assert!(pair.settled(at));
}
