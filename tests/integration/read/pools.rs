//! The same queries on every kind of connection.

use diesel::prelude::*;
use threadline::{AsOf, Change, Op, change, prelude::*};
use threadline_tests::{TestDb, execute};

diesel::table! { items (id) { id -> BigInt, name -> Text, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
struct Item {
    id: i64,
    name: String,
}

fn items() -> TestDb {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL)");
    db.capture("items", Item::DEFINITION);
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'); UPDATE items SET name = 'b'",
    );
    db
}

#[test]
fn r2d2() {
    let db = items();
    let pool = diesel::r2d2::Pool::builder()
        .max_size(1)
        .build(diesel::r2d2::ConnectionManager::<PgConnection>::new(
            db.url("tl_auditor"),
        ))
        .unwrap();
    assert_eq!(
        Item::history(1)
            .load(&mut pool.get().unwrap())
            .unwrap()
            .len(),
        2
    );
    let row = Item::as_of(1, diesel::dsl::now)
        .get_result(&mut pool.get().unwrap())
        .unwrap()
        .into_row();
    assert_eq!(
        row,
        Some(Item {
            id: 1,
            name: "b".into()
        })
    );
}

/// A prepared statement is kept for each query's type: other ids and other queries must not meet it.
#[test]
fn prepared_statements_are_not_confused() {
    let db = items();
    execute(&mut db.app(), "INSERT INTO items VALUES (2, 'c')");
    let mut conn = db.auditor();
    for _ in 0..3 {
        assert_eq!(Item::history(1).load(&mut conn).unwrap().len(), 2);
        assert_eq!(Item::history(2).load(&mut conn).unwrap().len(), 1);
        assert_eq!(Item::changes().load(&mut conn).unwrap().len(), 3);
        assert_eq!(
            Item::changes_of(1)
                .count()
                .get_result::<i64>(&mut conn)
                .unwrap(),
            2
        );
        assert_eq!(
            Item::history(1)
                .filter(change::op.eq(Op::Insert))
                .load(&mut conn)
                .unwrap()
                .len(),
            1
        );
        assert!(matches!(
            Item::as_of(1, diesel::dsl::now)
                .get_result(&mut conn)
                .unwrap(),
            AsOf::Found { .. }
        ));
        assert_eq!(
            Item::as_of(3, diesel::dsl::now)
                .get_result(&mut conn)
                .unwrap(),
            AsOf::NotYetCreated
        );
    }
}

mod asynchronous {
    use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};
    use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

    use super::*;

    #[tokio::test]
    async fn a_connection() {
        let db = items();
        let mut conn = AsyncPgConnection::establish(&db.url("tl_auditor"))
            .await
            .unwrap();
        let history = Item::history(1).load(&mut conn).await.unwrap();
        assert_eq!(
            history[0].after(),
            Some(&Item {
                id: 1,
                name: "b".into()
            })
        );
        let boxed = Item::history(1).into_boxed().filter(items::name.eq("a"));
        assert_eq!(boxed.load(&mut conn).await.unwrap().len(), 1);
        let row = Item::as_of(1, history[1].captured_at)
            .get_result(&mut conn)
            .await
            .unwrap()
            .into_row();
        assert_eq!(
            row,
            Some(Item {
                id: 1,
                name: "a".into()
            })
        );
        assert_eq!(
            Item::changes_of(1)
                .count()
                .get_result::<i64>(&mut conn)
                .await
                .unwrap(),
            2
        );
        assert_eq!(
            Item::history(1).first(&mut conn).await.unwrap().op,
            Op::Update
        );
    }

    /// Queries and their futures are Send, with a borrowed id too.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn spawned_with_bb8() {
        let db = items();
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(db.url("tl_auditor"));
        let pool = bb8::Pool::builder()
            .max_size(2)
            .build(manager)
            .await
            .unwrap();
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let name = String::from("b");
                    let mut conn = pool.get().await.unwrap();
                    let history: Vec<Change<Item>> = Item::history(1)
                        .filter(items::name.eq(&name))
                        .load(&mut conn)
                        .await
                        .unwrap();
                    let row = Item::as_of(1, diesel::dsl::now)
                        .get_result(&mut conn)
                        .await
                        .unwrap();
                    (history.len(), row.into_row())
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(
                task.await.unwrap(),
                (
                    1,
                    Some(Item {
                        id: 1,
                        name: "b".into()
                    })
                )
            );
        }
    }

    #[tokio::test]
    async fn deadpool_guards() {
        let db = items();
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(db.url("tl_auditor"));
        let pool = deadpool::Pool::builder(manager)
            .max_size(1)
            .build()
            .unwrap();
        assert_eq!(
            Item::history(1)
                .load(&mut pool.get().await.unwrap())
                .await
                .unwrap()
                .len(),
            2
        );
        let row = Item::as_of(1, diesel::dsl::now)
            .get_result(&mut pool.get().await.unwrap())
            .await
            .unwrap()
            .into_row();
        assert_eq!(
            row,
            Some(Item {
                id: 1,
                name: "b".into()
            })
        );
    }
}
