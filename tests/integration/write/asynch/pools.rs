//! A connection that a pool lends to one context after another.

use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool, mobc};

use super::*;

fn manager(db: &TestDb) -> AsyncDieselConnectionManager<AsyncPgConnection> {
    AsyncDieselConnectionManager::new(db.url("tl_app"))
}

/// Lends the one connection of a pool to five contexts, as a guard and as what the guard derefs to.
macro_rules! never_mixes_actors {
    ($db:ident, $pool:ident) => {
        for note in [1, 2] {
            let mut guard = $pool.get().await.unwrap();
            let context = user(note);
            transaction::<_, _, Error, _>(&mut guard, &context, async |conn| {
                let inner = user(note).source("inner");
                transaction::<_, _, Error, _>(conn, &inner, async |conn| {
                    assert_eq!(settings(conn).await[1], "inner");
                    insert(conn, note).await
                })
                .await
            })
            .await
            .unwrap();
            assert_eq!(settings(&mut guard).await, UNSET);
        }
        for note in [3, 4] {
            let mut guard = $pool.get().await.unwrap();
            let context = user(note);
            transaction::<_, _, Error, _>(&mut *guard, &context, async |conn| {
                insert(conn, note).await
            })
            .await
            .unwrap();
        }
        insert(&mut $pool.get().await.unwrap(), 5).await.unwrap();
        let expected = (1..5).map(|note: i64| (note, Some(note.to_string())));
        assert_eq!(
            recorded(&$db),
            expected.chain([(5, None)]).collect::<Vec<_>>()
        );
    };
}

#[tokio::test]
async fn bb8_never_mixes_actors() {
    let db = notes_db();
    let pool = bb8::Pool::builder()
        .max_size(1)
        .build(manager(&db))
        .await
        .unwrap();
    never_mixes_actors!(db, pool);
}

#[tokio::test]
async fn deadpool_never_mixes_actors() {
    let db = notes_db();
    let pool = deadpool::Pool::builder(manager(&db))
        .max_size(1)
        .build()
        .unwrap();
    never_mixes_actors!(db, pool);
}

#[tokio::test]
async fn mobc_never_mixes_actors() {
    let db = notes_db();
    let pool: mobc::Pool<AsyncPgConnection> = mobc::Builder::new().max_open(1).build(manager(&db));
    never_mixes_actors!(db, pool);
}
