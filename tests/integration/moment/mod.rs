//! Queries as of a moment, against a server.

mod asynchronous;
mod cut;
mod decoding;
mod many;
mod plans;
mod property;
mod queries;
mod raw;
mod refusals;
mod tables;

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;

/// The server's time.
fn clock(conn: &mut PgConnection) -> DateTime<Utc> {
    diesel::select(sql::<Timestamptz>("clock_timestamp()"))
        .get_result(conn)
        .unwrap()
}
