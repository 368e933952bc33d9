//! The same with diesel-async.

use diesel::prelude::*;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use threadline::{Audited, AuditedDsl, QueryAsOf, as_of_raw};
use threadline_tests::{TestDb, execute};

use super::clock;

diesel::table! { users (id) { id -> BigInt, name -> Text, } }
diesel::table! { shop.orders (id) { id -> BigInt, user_id -> BigInt, } }
diesel::joinable!(orders -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(users, orders);

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, QueryableByName, Audited)]
#[diesel(table_name = users)]
struct User {
    id: i64,
    name: String,
}

fn db() -> (TestDb, chrono::DateTime<chrono::Utc>) {
    let db = TestDb::new();
    db.audited(
        "users",
        "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL)",
    );
    db.audited("shop.orders", "CREATE SCHEMA shop; CREATE TABLE shop.orders (id bigint PRIMARY KEY, user_id bigint NOT NULL)");
    execute(
        &mut db.app(),
        "INSERT INTO users VALUES (1, 'then'); INSERT INTO shop.orders VALUES (1, 1)",
    );
    let moment = clock(&mut db.app());
    execute(
        &mut db.app(),
        "UPDATE users SET name = 'now'; DELETE FROM shop.orders",
    );
    (db, moment)
}

#[tokio::test]
async fn every_entry_point() {
    let (db, moment) = db();
    let mut conn = AsyncPgConnection::establish(&db.url("tl_auditor"))
        .await
        .unwrap();
    let then = User {
        id: 1,
        name: "then".to_owned(),
    };
    assert!(
        !threadline::settled(moment + chrono::TimeDelta::days(1))
            .get_result::<bool>(&mut conn)
            .await
            .unwrap()
    );
    // Twice, with the statement prepared.
    for _ in 0..2 {
        let joined = users::table
            .inner_join(orders::table)
            .filter(users::name.eq("then"))
            .select((users::name, orders::id))
            .as_of(moment)
            .load::<(String, i64)>(&mut conn)
            .await
            .unwrap();
        assert_eq!(joined, [("then".to_owned(), 1)]);
        let all = User::all_as_of(moment)
            .filter(users::id.eq(1))
            .load(&mut conn)
            .await
            .unwrap();
        assert_eq!(all, std::slice::from_ref(&then));
        let many = User::as_of_many([1, 2], moment)
            .load(&mut conn)
            .await
            .unwrap();
        assert_eq!(many[0].clone().into_row().as_ref(), Some(&then));
        let raw = diesel::sql_query("SELECT * FROM users WHERE id = $1")
            .bind::<diesel::sql_types::BigInt, _>(1);
        assert_eq!(
            as_of_raw(raw, moment)
                .get_result::<User>(&mut conn)
                .await
                .unwrap(),
            then
        );
    }
}

/// Queries and their futures are Send, with what they borrow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawned_with_a_pool() {
    let (db, moment) = db();
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
                let name = String::from("then");
                let mut conn = pool.get().await.unwrap();
                let found = users::table
                    .filter(users::name.eq(&name))
                    .count()
                    .as_of(moment);
                found.get_result::<i64>(&mut conn).await.unwrap()
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 1);
    }
}
