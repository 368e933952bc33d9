//! What a streaming replica answers: the same as its primary, and never that a timestamp is settled while a transaction that
//! was open then may still become visible.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::Timestamptz;
use scratch_postgres::ScratchPostgres;
use threadline::{AuditChange, Cursor, Page, PageError, TimelineFilter, timeline};
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

/// A page of the timeline, the oldest first.
pub fn page(
    conn: &mut PgConnection,
    at: Option<&Cursor>,
    limit: i64,
) -> QueryResult<Page<AuditChange>> {
    let mut list = timeline(TimelineFilter::new()).oldest_first();
    list = list.limit(limit).unwrap();
    if let Some(cursor) = at {
        list = list.at(cursor).unwrap();
    }
    list.get_result(conn)
}

pub fn keys(page: &Page<AuditChange>) -> Vec<String> {
    let keys = page.entries.iter().map(|change| &change.key["id"]);
    keys.map(|key| key.as_str().unwrap().to_owned()).collect()
}

/// The keys of a page and of those after it, of one change each.
pub fn walk(conn: &mut PgConnection, first: Page<AuditChange>) -> Vec<String> {
    let mut walked = keys(&first);
    let mut cursor = first.cursor;
    while let Some(at) = cursor {
        let page = page(conn, Some(&at), 1).unwrap();
        walked.extend(keys(&page));
        cursor = page.cursor;
    }
    walked
}

fn refusal(page: QueryResult<Page<AuditChange>>) -> PageError {
    match page.unwrap_err() {
        Error::DeserializationError(refusal) => *refusal.downcast().unwrap(),
        other => panic!("{other}"),
    }
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

/// What had not committed when a walk began isn't part of it, and all that had is: savepoints of transactions that are open,
/// prepared, and committed beside them.
#[test]
fn a_walk_on_a_replica_sees_what_had_been_replayed_when_it_began() {
    let _alone = alone();
    let Some(pair) = Pair::start() else { return };
    let mut app = pair.db.app();
    execute(&mut app, "INSERT INTO items VALUES (1)");
    let savepoint = |row: i64| {
        format!(
            "BEGIN; INSERT INTO items VALUES ({row}); SAVEPOINT s; INSERT INTO items VALUES ({row} + 10); RELEASE s"
        )
    };
    let mut open = [pair.db.app(), pair.db.app()];
    execute(&mut open[0], &savepoint(2));
    execute(
        &mut open[1],
        &format!("{}; PREPARE TRANSACTION 'two'", savepoint(3)),
    );
    execute(&mut app, &format!("{}; COMMIT", savepoint(4)));
    // In savepoints only: its row of the log was inserted in one.
    execute(
        &mut app,
        "BEGIN; SAVEPOINT s; INSERT INTO items VALUES (5); RELEASE s; COMMIT",
    );
    pair.catch_up();
    let mut reader = pair.on_replica("tl_auditor");
    let first = page(&mut reader, None, 1).unwrap();
    let on_primary = page(&mut pair.db.auditor(), None, 1).unwrap();

    execute(&mut open[0], "COMMIT");
    execute(&mut open[1], "COMMIT PREPARED 'two'");
    execute(&mut app, &format!("{}; COMMIT", savepoint(6)));
    pair.catch_up();
    let seen = ["1", "4", "14", "5"];
    assert_eq!(walk(&mut reader, first.clone()), seen);
    // The primary goes on with it, and the replica with the primary's.
    assert_eq!(walk(&mut pair.db.auditor(), first), seen);
    assert_eq!(walk(&mut reader, on_primary), seen);
    let first = page(&mut reader, None, 1).unwrap();
    let all = ["1", "2", "12", "3", "13", "4", "14", "5", "6", "16"];
    assert_eq!(walk(&mut reader, first), all);
}

/// Behind the primary, or behind itself after a restart, a replica would leave out what the walk has to show.
#[test]
fn a_replica_refuses_a_walk_that_it_may_not_have_replayed() {
    let _alone = alone();
    let Some(pair) = Pair::start() else { return };
    let mut app = pair.db.app();
    for row in 1..=3 {
        execute(&mut app, &format!("INSERT INTO items VALUES ({row})"));
    }
    pair.catch_up();
    let mut superuser = pair.on_replica("postgres");
    execute(&mut superuser, "SELECT pg_wal_replay_pause()");
    wait_for("the replica to pause", || {
        // What is on its way is still replayed; after a row that isn't, nothing is.
        execute(&mut app, "UPDATE items SET name = clock_timestamp()");
        let behind = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()";
        (value(&mut superuser, behind) == true).then_some(())
    });
    let elsewhere = page(&mut pair.db.auditor(), None, 1).unwrap();
    let mut reader = pair.on_replica("tl_auditor");
    let there = page(&mut reader, elsewhere.cursor.as_ref(), 1);
    assert_eq!(refusal(there), PageError::StandbyBehind);
    let here = page(&mut reader, None, 1).unwrap();
    assert!(page(&mut reader, here.cursor.as_ref(), 1).is_ok());

    execute(&mut superuser, "SELECT pg_wal_replay_resume()");
    pair.catch_up();
    let mut open = pair.db.app();
    execute(&mut open, "BEGIN; INSERT INTO items VALUES (4)");
    execute(&mut app, "INSERT INTO items VALUES (5)");
    pair.catch_up();
    let before = page(&mut reader, None, 1).unwrap();
    assert!(page(&mut reader, before.cursor.as_ref(), 1).is_ok());
    drop((reader, superuser));
    pair.replica.crash_and_restart().unwrap();
    let mut reader = pair.on_replica("tl_auditor");
    let after = page(&mut reader, before.cursor.as_ref(), 1);
    assert_eq!(refusal(after), PageError::StandbyBehind);
    execute(&mut open, "ROLLBACK");
    execute(&mut app, "INSERT INTO items VALUES (6)");
    pair.catch_up();
    assert!(page(&mut reader, before.cursor.as_ref(), 1).is_ok());
}

/// A cursor stays small: where it can't, a page that is all of its list is the answer.
#[test]
fn a_replica_gives_no_cursor_where_too_much_may_be_running() {
    let _alone = alone();
    let Some(pair) = Pair::start() else { return };
    let mut app = pair.db.app();
    execute(&mut app, "INSERT INTO items VALUES (1)");
    let mut open = pair.db.app();
    execute(&mut open, "BEGIN; INSERT INTO items VALUES (2)");
    execute(
        &mut pair.db.superuser(),
        "DO $$ BEGIN FOR i IN 1..1001 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    );
    execute(&mut app, "INSERT INTO items VALUES (3)");
    pair.catch_up();
    let mut reader = pair.on_replica("tl_auditor");
    assert_eq!(
        refusal(page(&mut reader, None, 1)),
        PageError::StandbyCrowded
    );
    assert_eq!(keys(&page(&mut reader, None, 2).unwrap()), ["1", "3"]);
}
