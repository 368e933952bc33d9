//! The same on an asynchronous connection.

mod actions;
mod cancelled;
mod context;
mod nesting;
mod pools;
mod spawned;

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline::asynch::transaction;

use super::*;

async fn connect(db: &TestDb) -> AsyncPgConnection {
    AsyncPgConnection::establish(&db.url("tl_app"))
        .await
        .unwrap()
}

async fn insert<C: AsyncConnection<Backend = Pg>>(conn: &mut C, id: i64) -> QueryResult<usize> {
    diesel::insert_into(notes::table)
        .values((notes::id.eq(id), notes::body.eq("text")))
        .execute(conn)
        .await
}

async fn note_ids<C: AsyncConnection<Backend = Pg>>(conn: &mut C) -> Vec<i64> {
    notes::table
        .select(notes::id)
        .order(notes::id)
        .load(conn)
        .await
        .unwrap()
}

async fn settings<C: AsyncConnection<Backend = Pg>>(conn: &mut C) -> Vec<String> {
    diesel::select(sql::<Array<Text>>(SETTINGS))
        .get_result(conn)
        .await
        .unwrap()
}
