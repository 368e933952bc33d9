//! C24: nothing of a context survives its transaction, on a server connection that PgBouncer gives to the next client.
//!
//! Diesel sends nameless statements once its cache is off, each in one go. diesel-async 0.9 names them all the same, and
//! prepares them first. PgBouncer before 1.21 passes the names on, so it takes what is here, and a transaction in general:
//! one server connection from prepare to run, and names from one process, where they are unique.
//!
//! The first two fail when settings are set for the session, by `false` for the last argument of `set_config` in
//! `settings_query.rs`.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use diesel::connection::CacheSize;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{BigInt, Integer};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde_json::{Value, json};
use threadline::AuditContext;
use threadline_tests::{TestDb, execute, value};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::pgbouncer::PgBouncer;
use crate::{alone, user};

/// How client A's transaction ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Commit,
    Rollback,
    Error,
    /// The client goes when it has committed.
    Gone,
    /// The client goes in the middle. PgBouncer then closes the server connection.
    GoneInside,
}

const ENDS: [End; 5] = [
    End::Commit,
    End::Rollback,
    End::Error,
    End::Gone,
    End::GoneInside,
];

const WRITE: &str = "INSERT INTO notes DEFAULT VALUES RETURNING id, pg_backend_pid() AS server";
const FAIL: &str = "SELECT 1 / 0";

/// A note, and the server connection over which it was written.
#[derive(Debug, QueryableByName)]
struct Note {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Integer)]
    server: i32,
}

struct Pool {
    db: TestDb,
    bouncer: PgBouncer,
}

impl Pool {
    fn start() -> Option<Self> {
        let db = TestDb::new();
        db.audited(
            "notes",
            "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
        );
        let bouncer = PgBouncer::start(&db)?;
        Some(Self { db, bouncer })
    }

    fn client(&self) -> PgConnection {
        let mut client = PgConnection::establish(&self.bouncer.url()).unwrap();
        client.set_prepared_statement_cache_size(CacheSize::Disabled);
        client
    }

    async fn async_client(&self) -> AsyncPgConnection {
        let mut client = AsyncPgConnection::establish(&self.bouncer.url())
            .await
            .unwrap();
        client.set_prepared_statement_cache_size(CacheSize::Disabled);
        client
    }

    /// What the log knows about who wrote a note.
    fn context(&self, note: &Note) -> Value {
        let context = format!(
            "SELECT jsonb_build_object('actor', t.actor_ref ->> 'id', 'others',
                 coalesce(t.source, t.request_id, t.correlation_id, t.job_id, t.meta::text, t.action_id::text))
             FROM audit_changes c JOIN audit_transactions t ON t.id = c.transaction_id WHERE c.table_pk ->> 'id' = '{}'",
            note.id
        );
        value(&mut self.db.auditor(), &context)
    }

    /// What B wrote after A: over the same connection, unless A took it along, and first in nobody's name.
    fn assert_unaffected(&self, end: End, server: i32, [plain, own, after]: [Note; 3]) {
        assert_eq!(plain.server == server, end != End::GoneInside, "{end:?}");
        assert_eq!([own.server, after.server], [plain.server; 2]);
        let nobody = json!({"actor": null, "others": null});
        assert_eq!(self.context(&plain), nobody, "{end:?}");
        assert_eq!(
            self.context(&own),
            json!({"actor": "b", "others": null}),
            "{end:?}"
        );
        assert_eq!(self.context(&after), nobody, "{end:?}");
    }
}

/// A's context, which leaves nothing empty.
fn full() -> AuditContext {
    let context = user("a").source("a").request_id("a").correlation_id("a");
    context.job_id("a").metadata("a", "a")
}

#[test]
fn c24_a_context_ends_with_its_transaction() {
    let _alone = alone();
    let Some(pool) = Pool::start() else { return };
    for end in ENDS {
        let (mut a, mut b) = (pool.client(), pool.client());
        let mut server = 0;
        let work = AssertUnwindSafe(|| {
            threadline::transaction(&mut a, &full(), |conn| {
                server = write(conn)?.server;
                match end {
                    End::Commit | End::Gone => Ok(()),
                    End::Rollback => Err(Error::RollbackTransaction),
                    End::Error => diesel::sql_query(FAIL).execute(conn).map(drop),
                    // A panic without its message: the client is dropped with its transaction open.
                    End::GoneInside => resume_unwind(Box::new(())),
                }
            })
        });
        let outcome = catch_unwind(work);
        assert_eq!(outcome.is_err(), end == End::GoneInside);
        let _kept = (end != End::Gone && end != End::GoneInside).then_some(a);

        let plain = write(&mut b).unwrap();
        let own = threadline::transaction(&mut b, &user("b"), write).unwrap();
        let after = write(&mut b).unwrap();
        pool.assert_unaffected(end, server, [plain, own, after]);
    }
}

fn write(conn: &mut PgConnection) -> QueryResult<Note> {
    diesel::sql_query(WRITE).get_result(conn)
}

#[test]
fn c24_an_async_context_ends_with_its_transaction() {
    let _alone = alone();
    let Some(pool) = Pool::start() else { return };
    Runtime::new().unwrap().block_on(async {
        for end in ENDS {
            let (mut a, mut b) = (pool.async_client().await, pool.async_client().await);
            let (wrote, written) = oneshot::channel();
            let context = full();
            let work = threadline::asynch::transaction(&mut a, &context, async |conn| {
                wrote.send(write_async(conn).await?.server).unwrap();
                match end {
                    End::Commit | End::Gone => Ok(()),
                    End::Rollback => Err(Error::RollbackTransaction),
                    End::Error => diesel_async::RunQueryDsl::execute(diesel::sql_query(FAIL), conn)
                        .await
                        .map(drop),
                    End::GoneInside => pending().await,
                }
            });
            let server = if end == End::GoneInside {
                tokio::select! {
                    outcome = work => panic!("it can't end: {outcome:?}"),
                    server = written => server.unwrap(),
                }
            } else {
                assert_eq!(work.await.is_ok(), end == End::Commit || end == End::Gone);
                written.await.unwrap()
            };
            let _kept = (end != End::Gone && end != End::GoneInside).then_some(a);

            let plain = write_async(&mut b).await.unwrap();
            let own = threadline::asynch::transaction(&mut b, &user("b"), write_async).await;
            let after = write_async(&mut b).await.unwrap();
            pool.assert_unaffected(end, server, [plain, own.unwrap(), after]);
        }
    });
}

async fn write_async(conn: &mut AsyncPgConnection) -> QueryResult<Note> {
    diesel_async::RunQueryDsl::get_result(diesel::sql_query(WRITE), conn).await
}

/// The control: what a client sets for the session does reach the next one, so that the tests above could fail.
#[test]
fn c24_a_setting_of_the_session_leaks() {
    let _alone = alone();
    let Some(pool) = Pool::start() else { return };
    let (mut a, mut b) = (pool.client(), pool.client());
    execute(
        &mut a,
        r#"SET threadline.actor_ref = '{"type": "user", "id": "a"}'"#,
    );
    let server = write(&mut a).unwrap().server;
    let note = write(&mut b).unwrap();
    assert_eq!(note.server, server);
    assert_eq!(pool.context(&note), json!({"actor": "a", "others": null}));
}
