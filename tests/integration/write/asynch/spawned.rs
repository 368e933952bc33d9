//! Transactions in tasks of a runtime with several threads.

use std::sync::Arc;

use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8};
use tokio::sync::Barrier;

use super::*;

/// What an application's repository looks like: it has the connection and the context by reference.
struct Notes<'a, C> {
    conn: &'a mut C,
    context: &'a AuditContext,
}

impl<C: AsyncConnection<Backend = Pg>> Notes<'_, C> {
    async fn save(&mut self, id: i64, body: &str) -> QueryResult<usize> {
        transaction(self.conn, self.context, async |conn| {
            diesel::insert_into(notes::table)
                .values((notes::id.eq(id), notes::body.eq(body)))
                .execute(conn)
                .await
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_may_capture_references() {
    let db = notes_db();
    let mut app = connect(&db).await;
    tokio::spawn(async move {
        let body = String::from("by reference");
        let context = user(1);
        transaction::<_, _, Error, _>(&mut app, &context, async |conn| {
            insert(conn, 1).await?;
            transaction(conn, &context, async |conn| {
                diesel::update(notes::table)
                    .set(notes::body.eq(&body))
                    .execute(conn)
                    .await
            })
            .await
        })
        .await
        .unwrap();
        let mut notes = Notes {
            conn: &mut app,
            context: &context,
        };
        notes.save(2, &body).await.unwrap();
        // The future borrows the context no longer than the call.
        let later = transaction(&mut app, &user(2), async move |conn| {
            diesel::update(notes::table.find(2))
                .set(notes::body.eq(body + " no more"))
                .execute(conn)
                .await
        });
        let updated: QueryResult<usize> = later.await;
        updated.unwrap();
    })
    .await
    .unwrap();
    assert_eq!(recorded(&db), [by(1, &[1, 1, 2]), by(2, &[2])].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_side_by_side_keep_their_actors_apart() {
    const TASKS: i64 = 8;
    let db = notes_db();
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(db.url("tl_app"));
    let pool = bb8::Pool::builder()
        .max_size(TASKS as u32)
        .build(manager)
        .await
        .unwrap();
    // The second round takes the connections that the first has used.
    for round in [1, 2] {
        // Lets none of them commit before all have written: there are eight open transactions at once.
        let all_open = Arc::new(Barrier::new(TASKS as usize));
        let tasks: Vec<_> = (1..=TASKS)
            .map(|task| {
                let (pool, all_open) = (pool.clone(), Arc::clone(&all_open));
                tokio::spawn(async move {
                    let first = round * 1000 + task * 10;
                    let mut guard = pool.get().await.unwrap();
                    transaction::<_, _, Error, _>(&mut guard, &user(task), async |conn| {
                        insert(conn, first).await?;
                        all_open.wait().await;
                        insert(conn, first + 1).await
                    })
                    .await
                    .unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    let recorded = recorded(&db);
    assert_eq!(recorded.len(), 2 * 2 * TASKS as usize);
    for (note, actor) in recorded {
        let task = note % 1000 / 10;
        assert_eq!(actor, Some(task.to_string()), "note {note}");
    }
    assert_eq!(transactions(&db).len(), 2 * TASKS as usize);
}
