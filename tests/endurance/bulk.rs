//! A bulk write that something happens to while its rows are being captured.

use std::process::Command;

use diesel::prelude::*;
use diesel::result::Error;
use serde_json::json;
use threadline_tests::log::{assert_newest_images_equal_table, assert_nothing_is_orphaned};
use threadline_tests::{TestDb, execute, rows, value, wait_for};

use crate::user;

/// The rows before, which the bulk write updates, and the rows after it.
pub const BEFORE: i64 = 1_000;
pub const AFTER: i64 = 40_000;

/// AFTER triggers fire when all rows are written, so that the log grows towards the end of this.
pub const BULK: &str =
    "INSERT INTO items SELECT i, 'bulk', repeat('.', 300) FROM generate_series(1, 40000) i
    ON CONFLICT (id) DO UPDATE SET note = excluded.note";

/// The last row of a bulk write waits for a lock, so that none can end before the test lets it.
const GATE: &str = "
    CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = '60s' AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$;
    CREATE TRIGGER gate AFTER INSERT ON items FOR EACH ROW WHEN (NEW.id = 40000) EXECUTE FUNCTION gate()";

/// A database with the captured table that bulk writes go to.
#[derive(Debug)]
pub struct Bulk {
    pub db: TestDb,
    log_size: i64,
}

impl Bulk {
    pub fn new(db: TestDb) -> Self {
        db.audited(
            "items",
            "CREATE TABLE items (id bigint PRIMARY KEY, note text NOT NULL, bulk text)",
        );
        db.create(GATE);
        let write =
            format!("INSERT INTO items SELECT i, 'before' FROM generate_series(1, {BEFORE}) i");
        write_as(&mut db.app(), "before", &write).unwrap();
        let log_size = log_size(&mut db.superuser());
        Self { db, log_size }
    }

    /// Holds up bulk writes for as long as the connection lives.
    pub fn close_gate(&self) -> PgConnection {
        let mut holder = self.db.superuser();
        execute(&mut holder, "SELECT pg_advisory_lock(7)");
        holder
    }

    /// Whether a bulk write has got as far as the log, also if it was rolled back since.
    pub fn has_captured(&self, watcher: &mut PgConnection) -> bool {
        log_size(watcher) > self.log_size + 1_000_000
    }

    /// Waits until a bulk write is active and its changes fill the log. Returns the process of its server side.
    pub fn wait_until_captured(&self) -> i64 {
        let mut watcher = self.db.superuser();
        wait_for("a bulk write that is being captured", || {
            let active = rows(
                &mut watcher,
                "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT INTO items SELECT%'
                     AND datname = current_database()",
            );
            let pid = active.first()?["pid"].as_i64();
            pid.filter(|_| self.has_captured(&mut watcher))
        })
    }

    /// Holds if table and log agree, with so many rows, and a further write is captured under its own actor.
    pub fn assert_intact(&self, rows_left: i64) {
        self.assert_agreement(rows_left);
        let write = "UPDATE items SET note = 'next' WHERE id = 1";
        write_as(&mut self.db.app(), "next", write).unwrap();
        assert_newest_images_equal_table(&self.db, "items");
        let newest = "SELECT t.actor_ref ->> 'id' || ' ' || (c.data_after ->> 'note')
                      FROM audit_changes c JOIN audit_transactions t ON t.id = c.transaction_id
                      WHERE c.table_name = 'items' ORDER BY c.id DESC LIMIT 1";
        assert_eq!(value(&mut self.db.auditor(), newest), "next next");
        assert_nothing_is_orphaned(&self.db);
    }

    /// Holds if table and log agree: all of the bulk write or nothing of it.
    pub fn assert_agreement(&self, rows_left: i64) {
        assert_newest_images_equal_table(&self.db, "items");
        assert_nothing_is_orphaned(&self.db);
        let bulk = if rows_left == AFTER { AFTER } else { 0 };
        let counts =
            "SELECT jsonb_build_object('rows', (SELECT count(*) FROM items), 'changes', count(*),
                          'bulk', count(*) FILTER (WHERE data_after ->> 'note' = 'bulk'))
                      FROM audit_changes WHERE table_name = 'items'";
        assert_eq!(
            value(&mut self.db.superuser(), counts),
            json!({"rows": rows_left, "changes": BEFORE + bulk, "bulk": bulk})
        );
    }

    /// Waits until a connection's server side has ended, whatever it had left to do.
    pub fn wait_until_gone(&self, pid: i64) {
        let gone = format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})");
        let mut watcher = self.db.superuser();
        wait_for("the abandoned connection to end", || {
            (value(&mut watcher, &gone) == true).then_some(())
        });
    }
}

fn log_size(watcher: &mut PgConnection) -> i64 {
    let size = value(watcher, "SELECT pg_relation_size('audit_changes')");
    size.as_i64().unwrap()
}

pub fn write_as(conn: &mut PgConnection, actor: &str, sql: &str) -> Result<usize, Error> {
    threadline::transaction(conn, &user(actor), |conn| {
        diesel::sql_query(sql).execute(conn)
    })
}

/// Ends processes without giving them a chance to notice. The children of the first one end by themselves when it is gone, so
/// that only the first has to be there.
pub fn kill(pids: &[i64]) {
    let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
    let mut kill = Command::new("sh");
    kill.args(["-c", r#"kill -KILL "$1" || exit; shift; for child; do kill -KILL "$child" 2>/dev/null; done; true"#, "sh"]).args(&pids);
    assert!(kill.status().unwrap().success(), "{pids:?}");
}
