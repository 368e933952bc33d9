//! A transaction whose future is dropped before it is done.

use std::future::pending;

use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool, mobc};
use tokio::sync::oneshot;

use super::*;

/// Where the future is when it is dropped.
#[derive(Clone, Copy)]
enum At {
    /// Between two statements.
    Pause,
    /// In a statement that waits for a lock of somebody else.
    Statement,
}

/// A transaction of `victim` that writes note 1, and is dropped as soon as it has.
async fn cancel<C: AsyncConnection<Backend = Pg>>(conn: &mut C, at: At) {
    let (wrote, written) = oneshot::channel();
    let context = full("victim");
    let work = transaction::<_, (), Error, _>(conn, &context, async move |conn| {
        insert(conn, 1).await?;
        wrote.send(()).unwrap();
        match at {
            At::Pause => pending().await,
            At::Statement => diesel::sql_query("SELECT pg_advisory_xact_lock(1)")
                .execute(conn)
                .await
                .map(|_| unreachable!("nobody lets go of the lock")),
        }
    });
    tokio::select! {
        biased;
        outcome = work => panic!("it can't end: {outcome:?}"),
        signal = written => signal.unwrap(),
    }
}

/// Holds the lock that [`At::Statement`] waits for.
fn holder(db: &TestDb) -> PgConnection {
    let mut holder = db.owner();
    threadline_tests::execute(&mut holder, "SELECT pg_advisory_lock(1)");
    holder
}

/// What a pool lends after a cancellation: a connection that knows nothing of it.
macro_rules! lends_a_clean_connection {
    ($db:ident, $pool:ident) => {
        for at in [At::Pause, At::Statement] {
            let holder = holder(&$db);
            cancel(&mut $pool.get().await.unwrap(), at).await;
            // The server ends the abandoned transaction once it can answer the statement.
            drop(holder);
            let mut guard = $pool.get().await.unwrap();
            assert_eq!(settings(&mut guard).await, UNSET);
            // Waits for the abandoned transaction, and succeeds because it was rolled back.
            transaction::<_, _, Error, _>(&mut guard, &user(2), async |conn| {
                insert(conn, 1).await?;
                diesel::delete(notes::table.find(1)).execute(conn).await
            })
            .await
            .unwrap();
        }
        assert_eq!(recorded(&$db), by(2, &[1, 1, 1, 1]));
        assert_eq!(transactions(&$db).len(), 2);
    };
}

#[tokio::test]
async fn bb8_discards_the_connection() {
    let db = notes_db();
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(db.url("tl_app"));
    let pool = bb8::Pool::builder()
        .max_size(1)
        .build(manager)
        .await
        .unwrap();
    lends_a_clean_connection!(db, pool);
}

#[tokio::test]
async fn deadpool_discards_the_connection() {
    let db = notes_db();
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(db.url("tl_app"));
    let pool = deadpool::Pool::builder(manager)
        .max_size(1)
        .build()
        .unwrap();
    lends_a_clean_connection!(db, pool);
}

/// diesel-async 0.9.2 answers mobc's question for a valid connection with whether it is broken, so that mobc keeps
/// exactly those. It must not matter: on such a connection a transaction fails, and nothing is lost in silence.
#[tokio::test]
async fn mobc_may_lend_it_again_but_nothing_is_written_through_it() {
    let db = notes_db();
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(db.url("tl_app"));
    let pool: mobc::Pool<AsyncPgConnection> = mobc::Builder::new().max_open(1).build(manager);
    cancel(&mut pool.get().await.unwrap(), At::Pause).await;
    let mut guard = pool.get().await.unwrap();
    // Not refused for its actor: in the abandoned transaction it would be a savepoint that seems to succeed.
    let unattributed = AuditContext::unattributed();
    let next: QueryResult<usize> = transaction(&mut guard, &unattributed, async |conn| {
        insert(conn, 1).await
    })
    .await;
    match next {
        Err(Error::BrokenTransactionManager) => assert_eq!(recorded(&db), []),
        next => {
            assert_eq!(next, Ok(1));
            assert_eq!(recorded(&db), [(1, None)]);
        }
    }
}

#[tokio::test]
async fn a_connection_of_ones_own_refuses_further_transactions() {
    let db = notes_db();
    let mut app = connect(&db).await;
    cancel(&mut app, At::Pause).await;
    for context in [user("victim"), user(2), AuditContext::unattributed()] {
        let next: QueryResult<usize> =
            transaction(&mut app, &context, async |conn| insert(conn, 2).await).await;
        assert!(matches!(next, Err(Error::BrokenTransactionManager)));
    }
    let next: QueryResult<()> = app.transaction(async |_| Ok(())).await;
    assert!(matches!(next, Err(Error::BrokenTransactionManager)));
    drop(app);
    insert(&mut connect(&db).await, 1).await.unwrap();
    assert_eq!(recorded(&db), [(1, None)]);
}

#[tokio::test]
async fn a_transaction_around_a_cancelled_one_does_not_seem_to_commit() {
    let db = notes_db();
    let mut app = connect(&db).await;
    let outer: QueryResult<()> = transaction(&mut app, &full("victim"), async |conn| {
        insert(conn, 2).await?;
        cancel(conn, At::Pause).await;
        Ok(())
    })
    .await;
    assert!(matches!(outer, Err(Error::BrokenTransactionManager)));
    drop(app);
    insert(&mut connect(&db).await, 2).await.unwrap();
    assert_eq!(recorded(&db), [(2, None)]);
}
