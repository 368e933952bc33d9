//! Rows as of a moment are what history says that they were.

mod columns;
mod keys;
mod redacted;
mod tables;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::{Audited, AuditedDsl, Definition, Level, QueryAsOf, Truncate, capture::Storage};
use threadline_tests::{TestDb, execute, rows, value};

use super::cut::wait_until_settled;
use super::{clock, let_the_application_read_the_log};

/// A table as of a moment as JSON, as the auditor, and as one who may read the table too.
fn table_at(db: &TestDb, table: &str, moment: DateTime<Utc>) -> Vec<Value> {
    let_the_application_read_the_log(db);
    let sql = format!(
        "SELECT * FROM threadline_moment(NULL::{table}, '{table}', '{}')",
        moment.to_rfc3339()
    );
    let sorted = |mut rows: Vec<Value>| {
        rows.sort_by_key(ToString::to_string);
        rows
    };
    let by_log = sorted(rows(&mut db.auditor(), &sql));
    assert_eq!(sorted(rows(&mut db.app(), &sql)), by_log);
    by_log
}
