//! What a logical subscriber answers, whose log is replicated from a publisher of other transaction ids: the same, but never
//! that a timestamp is settled.

use scratch_postgres::{Builder, ScratchPostgres};
use serde_json::Value;
use threadline_tests::{TestDb, cluster, execute, postgres, rows, value, wait_for};

use crate::alone;
use crate::replica::{clock, page, settled, walk};

const ITEMS: &str = "CREATE TABLE items (id bigint PRIMARY KEY, name text)";
const LOG: &str = "audit_tables, audit_transactions, audit_changes, audit_actions, audit_commits";

/// A publisher that captures `items`, and a subscriber of its log alone.
struct Pair {
    publisher: TestDb,
    subscriber: TestDb,
}

fn settings() -> Builder {
    ScratchPostgres::builder()
        .setting("wal_level", "logical")
        .setting("autovacuum", "off")
        .setting("max_prepared_transactions", "10")
}

impl Pair {
    /// With further settings of the publisher, and of the subscription.
    fn start(settings_of_publisher: Builder, with: &str) -> Self {
        let publisher = TestDb::on(&cluster(settings_of_publisher));
        publisher.audited("items", ITEMS);
        execute(&mut publisher.app(), "INSERT INTO items VALUES (1)");
        let subscriber = TestDb::on(&cluster(settings()));
        subscriber.create(ITEMS);
        execute(
            &mut publisher.superuser(),
            &format!("CREATE PUBLICATION log FOR TABLE {LOG}"),
        );
        let from = format!(
            "host={} port=5432 user=postgres dbname={}",
            publisher.postgres().dir().display(),
            publisher.name()
        );
        let mut superuser = subscriber.superuser();
        execute(
            &mut superuser,
            &format!("CREATE SUBSCRIPTION log CONNECTION '{from}' PUBLICATION log {with}"),
        );
        wait_for("the first copy of the log", || {
            let ready = "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel";
            (value(&mut superuser, ready) == true).then_some(())
        });
        let pair = Self {
            publisher,
            subscriber,
        };
        pair.catch_up();
        pair
    }

    /// Waits for the newest transaction of the publisher, after which no other is missing.
    fn catch_up(&self) {
        let newest = "SELECT count(*) FROM audit_commits";
        let sent = value(&mut self.publisher.superuser(), newest);
        let mut subscriber = self.subscriber.superuser();
        wait_for("the subscriber to catch up", || {
            (value(&mut subscriber, newest) == sent).then_some(())
        });
    }

    /// What both answer to a query, whoever asks.
    fn answers(&self, sql: &str) -> Vec<Value> {
        let answer = rows(&mut self.publisher.auditor(), sql);
        for mut conn in [self.subscriber.auditor(), self.subscriber.superuser()] {
            assert_eq!(rows(&mut conn, sql), answer, "{sql}");
        }
        answer
    }
}

/// Fails when a subscriber is asked as a primary is: nothing of the publisher's runs there.
#[test]
fn nothing_settles_on_a_subscriber() {
    let _alone = alone();
    let pair = Pair::start(settings(), "");
    let mut app = pair.publisher.app();
    let mut open = pair.publisher.app();
    execute(&mut open, "BEGIN; INSERT INTO items VALUES (2)");
    let mut prepared = pair.publisher.app();
    execute(
        &mut prepared,
        "BEGIN; INSERT INTO items VALUES (3); SAVEPOINT s; INSERT INTO items VALUES (4); RELEASE s; PREPARE TRANSACTION 'two'",
    );
    let at = clock(&mut app);
    execute(&mut app, "INSERT INTO items VALUES (5)");
    pair.catch_up();
    let is_settled = || {
        let [auditor, superuser] = [pair.subscriber.auditor(), pair.subscriber.superuser()]
            .map(|mut conn| settled(&mut conn, at));
        auditor || superuser
    };
    assert!(!is_settled());

    let mut reader = pair.subscriber.auditor();
    let first = page(&mut reader, None, 1);
    execute(&mut open, "COMMIT");
    execute(&mut prepared, "COMMIT PREPARED 'two'");
    execute(&mut app, "INSERT INTO items VALUES (6)");
    pair.catch_up();
    assert_eq!(walk(&mut reader, first.unwrap()), ["1", "5"]);
    let first = page(&mut reader, None, 1);
    assert_eq!(
        walk(&mut reader, first.unwrap()),
        ["1", "2", "3", "4", "5", "6"]
    );
    assert!(!is_settled());

    for id in 1..=6 {
        let key = format!("'items', '{{\"id\": {id}}}'");
        let history = pair.answers(&format!("SELECT * FROM threadline_history({key})"));
        assert_eq!(history.len(), 1);
        pair.answers(&format!("SELECT * FROM threadline_as_of({key}, '{at}')"));
    }
    for (at, len) in [(at, 3), (clock(&mut app), 6)] {
        let table =
            format!("SELECT id FROM threadline_moment(NULL::items, 'items', '{at}') ORDER BY id");
        assert_eq!(pair.answers(&table).len(), len);
    }

    // It is a log of its own once it captures. Sequences are not replicated.
    execute(&mut pair.subscriber.superuser(), "DROP SUBSCRIPTION log");
    assert!(!is_settled());
    execute(
        &mut pair.subscriber.superuser(),
        "SELECT setval('audit_changes_id_seq', max(id)) FROM audit_changes;
         SELECT setval(pg_get_serial_sequence('audit_tables', 'id'), max(id)) FROM audit_tables",
    );
    pair.subscriber
        .audited("others", "CREATE TABLE others (id int PRIMARY KEY)");
    execute(&mut pair.subscriber.app(), "INSERT INTO others VALUES (1)");
    wait_for("the copied log to settle", || is_settled().then_some(()));
}

/// From PostgreSQL 16 on, a transaction may be applied while it still runs on the publisher, in savepoints that snapshots don't
/// list.
#[test]
fn a_walk_is_refused_where_savepoints_are_applied() {
    let _alone = alone();
    let streams_at_once = match postgres().version() {
        ..16 => return,
        16 => "logical_replication_mode",
        _ => "debug_logical_replication_streaming",
    };
    let pair = Pair::start(
        settings().setting(streams_at_once, "immediate"),
        "WITH (streaming = parallel)",
    );
    let mut app = pair.publisher.app();
    execute(&mut app, "INSERT INTO items VALUES (4)");
    let mut open = pair.publisher.app();
    execute(
        &mut open,
        "BEGIN; INSERT INTO items VALUES (2); SAVEPOINT s; INSERT INTO items VALUES (3); RELEASE s",
    );
    // Flushed with what follows it, and so decoded.
    execute(&mut app, "INSERT INTO items VALUES (5)");
    let mut superuser = pair.subscriber.superuser();
    let applied = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted
        GROUP BY pid HAVING count(*) > 1)";
    wait_for("the savepoint to be applied", || {
        (value(&mut superuser, applied) == true).then_some(())
    });
    // The savepoint's number is before the snapshot's next.
    execute(&mut superuser, "SELECT pg_current_xact_id()");
    let mut reader = pair.subscriber.auditor();
    let first = page(&mut reader, None, 1).unwrap();
    execute(&mut open, "COMMIT");
    pair.catch_up();
    let refused = page(&mut reader, first.cursor.as_ref(), 3).unwrap_err();
    assert!(refused.to_string().contains("Begin again"), "{refused}");
    let first = page(&mut reader, None, 1).unwrap();
    assert_eq!(walk(&mut reader, first), ["1", "4", "2", "3", "5"]);
}
