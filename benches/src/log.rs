//! Logs of any length, to read from.

use chrono::{DateTime, Days, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::Result;
use crate::markdown::progress;
use crate::server::Server;
use crate::variant;

/// The row that every tenth change is about.
pub(crate) const HOT: i64 = 1000;

/// A connection to a database with that many changes of `users`, made as `sql/fill.sql` says.
pub(crate) struct Log {
    pub(crate) conn: PgConnection,
    start: DateTime<Utc>,
    changes: i64,
    /// Database rows other than the hot one; each has 90 changes.
    rows: i64,
}

impl Log {
    pub(crate) fn fill(server: &mut Server, database: &str, changes: i64) -> Result<Log> {
        progress(&format!("reading: a log of {changes} changes"))?;
        let ours = variant::ours().next().ok_or("nothing of ours to measure")?;
        let mut conn = server.fresh(database, ours)?;
        let now = Utc::now();
        let start = now.checked_sub_days(Days::new(1)).unwrap_or(now);
        let rows = changes / 100;
        // One insert and one update, captured, to make the others of.
        conn.batch_execute(
            r#"BEGIN;
            SET LOCAL threadline.actor_ref = '{"type": "user", "id": "42"}';
            INSERT INTO users (email, name, age, settings, tags)
            VALUES ('ada@example.com', 'Ada', 36, '{"theme": "dark", "locale": "en"}', '{staff,billing}');
            UPDATE users SET name = 'Ada L.', balance = 1, updated_at = clock_timestamp();
            COMMIT"#,
        )?;
        let fill = include_str!("../sql/fill.sql")
            .replace("{changes}", &changes.to_string())
            .replace("{rows}", &rows.to_string())
            .replace("{start}", &start.to_rfc3339());
        conn.batch_execute(&fill)?;
        conn.batch_execute("VACUUM ANALYZE")?;
        conn.batch_execute("CHECKPOINT")?;
        // Without the leavings of filling it.
        let conn = server.connect(database)?;
        Ok(Log {
            conn,
            start,
            changes,
            rows,
        })
    }

    /// One of the rows, another for every number.
    pub(crate) fn row(&self, number: i64) -> i64 {
        HOT + 1 + (number * 7919) % self.rows
    }

    /// A moment when half of the changes were there.
    pub(crate) fn middle(&self) -> DateTime<Utc> {
        self.start + TimeDelta::milliseconds(self.changes / 2 * 50)
    }
}
