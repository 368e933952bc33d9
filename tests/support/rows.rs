use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Jsonb, Nullable};
use serde_json::Value;

use crate::skip;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<Jsonb>)]
    row: Option<Value>,
}

/// The rows of a query as JSON objects, by column name.
pub fn rows(conn: &mut PgConnection, sql: &str) -> Vec<Value> {
    diesel::sql_query(format!("SELECT to_jsonb(q) AS row FROM ({sql}) q"))
        .load::<Row>(conn)
        .unwrap_or_else(|error| panic!("{error}\n{sql}"))
        .into_iter()
        .map(|row| row.row.unwrap_or(Value::Null))
        .collect()
}

/// The one value of a query of one row and one column, as JSON.
pub fn value(conn: &mut PgConnection, sql: &str) -> Value {
    diesel::sql_query(format!("SELECT to_jsonb(({sql})) AS row"))
        .get_result::<Row>(conn)
        .unwrap_or_else(|error| panic!("{error}\n{sql}"))
        .row
        .unwrap_or(Value::Null)
}

/// Runs SQL, several statements if need be. They run in one transaction unless they begin their own.
pub fn execute(conn: &mut PgConnection, sql: &str) {
    try_execute(conn, sql).unwrap_or_else(|error| panic!("{error}\n{sql}"));
}

/// Whether this build of the server can do what a statement asks for, and has done it: modules, ICU and XML may be left
/// out of one. Says so if they are.
pub fn offers(conn: &mut PgConnection, sql: &str) -> bool {
    let Err(refusal) = try_execute(conn, sql) else {
        return true;
    };
    let left_out = [
        "is not available",
        "not supported in this build",
        "could not access file",
        "unsupported XML feature",
    ];
    assert!(
        left_out.iter().any(|reason| refusal.contains(reason)),
        "{refusal}\n{sql}"
    );
    skip(&format!("the server refuses `{sql}`: {refusal}"));
    false
}

/// As [`execute`], with the server's refusal: its message and its hint.
pub fn try_execute(conn: &mut PgConnection, sql: &str) -> Result<(), String> {
    conn.batch_execute(sql).map_err(|error| match error {
        diesel::result::Error::DatabaseError(_, info) => match info.hint() {
            Some(hint) => format!("{}\n{hint}", info.message()),
            None => info.message().to_owned(),
        },
        other => other.to_string(),
    })
}
