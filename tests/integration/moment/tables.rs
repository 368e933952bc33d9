//! What a query as of a moment shows, of every kind of query.

use chrono::{DateTime, Utc};
use diesel::dsl::{count_star, exists, sum};
use diesel::prelude::*;
use threadline::prelude::*;
use threadline_tests::{TestDb, execute};

use super::{clock, let_the_application_read_the_log};

diesel::table! { users (id) { id -> BigInt, name -> Text, manager -> Nullable<BigInt>, } }
diesel::table! { billing.invoices (id) { id -> BigInt, user_id -> BigInt, total -> Integer, } }
diesel::joinable!(invoices -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(users, invoices);

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Identifiable, Audited)]
#[diesel(table_name = users)]
struct User {
    id: i64,
    name: String,
    manager: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Identifiable, Associations, Audited)]
#[diesel(table_name = invoices, belongs_to(User))]
struct Invoice {
    id: i64,
    user_id: i64,
    total: i32,
}

fn user(id: i64, name: &str, manager: Option<i64>) -> User {
    User {
        id,
        name: name.to_owned(),
        manager,
    }
}

/// Two tables with what they held at a moment, and something else today.
fn changed() -> (TestDb, DateTime<Utc>) {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, manager bigint);
         CREATE SCHEMA billing;
         CREATE TABLE billing.invoices (id bigint PRIMARY KEY, user_id bigint NOT NULL, total integer NOT NULL)",
    );
    db.capture("users", User::DEFINITION);
    db.capture("billing.invoices", Invoice::DEFINITION);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO users VALUES (1, 'ada', NULL), (2, 'bob', 1), (3, 'cy', 1);
         INSERT INTO billing.invoices VALUES (1, 1, 10), (2, 2, 20), (3, 2, 30)",
    );
    let moment = clock(&mut app);
    execute(
        &mut app,
        "UPDATE users SET name = 'bobby', manager = 3 WHERE id = 2; DELETE FROM users WHERE id = 3;
         INSERT INTO users VALUES (4, 'dan', 2); UPDATE billing.invoices SET total = total + 1;
         DELETE FROM billing.invoices WHERE id = 3; INSERT INTO billing.invoices VALUES (5, 4, 50)",
    );
    (db, moment)
}

/// An auditor, who has no right on the tables, and the application, which may read them and the log.
fn readers(db: &TestDb) -> [PgConnection; 2] {
    let_the_application_read_the_log(db);
    [db.auditor(), db.app()]
}

#[test]
fn a_filter_and_an_order() {
    let (db, moment) = changed();
    for mut conn in readers(&db) {
        let rows = users::table
            .filter(users::name.lt("c"))
            .order(users::id.desc())
            .as_of(moment)
            .load::<(i64, String, Option<i64>)>(&mut conn)
            .unwrap();
        assert_eq!(
            rows,
            [(2, "bob".to_owned(), Some(1)), (1, "ada".to_owned(), None)]
        );
        let rows = users::table
            .select(User::as_select())
            .order(users::id)
            .as_of(moment)
            .load(&mut conn)
            .unwrap();
        assert_eq!(
            rows,
            [
                user(1, "ada", None),
                user(2, "bob", Some(1)),
                user(3, "cy", Some(1))
            ]
        );
        let today = users::table
            .select(User::as_select())
            .order(users::id)
            .as_of(diesel::dsl::now)
            .load(&mut conn)
            .unwrap();
        assert_eq!(
            today,
            [
                user(1, "ada", None),
                user(2, "bobby", Some(3)),
                user(4, "dan", Some(2))
            ]
        );
    }
}

#[test]
fn joins_with_a_table_that_has_a_schema() {
    let (db, moment) = changed();
    for mut conn in readers(&db) {
        let rows = users::table
            .left_join(invoices::table)
            .filter(users::id.ne(3).or(invoices::total.gt(0)))
            .order((users::id, invoices::id))
            .select((users::name, invoices::total.nullable()))
            .as_of(moment)
            .load::<(String, Option<i32>)>(&mut conn)
            .unwrap();
        let expected = [("ada", 10), ("bob", 20), ("bob", 30)];
        assert_eq!(
            rows,
            expected.map(|(name, total)| (name.to_owned(), Some(total)))
        );
        let pairs: Vec<(User, Invoice)> = users::table
            .inner_join(invoices::table)
            .filter(invoices::total.eq(10))
            .select((User::as_select(), Invoice::as_select()))
            .as_of(moment)
            .load(&mut conn)
            .unwrap();
        let invoice = Invoice {
            id: 1,
            user_id: 1,
            total: 10,
        };
        assert_eq!(pairs, [(user(1, "ada", None), invoice)]);
    }
}

#[test]
fn a_self_join_through_aliases() {
    let (db, moment) = changed();
    let (worker, boss) = diesel::alias!(users as worker, users as boss);
    for mut conn in readers(&db) {
        let rows = worker
            .inner_join(
                boss.on(worker
                    .field(users::manager)
                    .eq(boss.field(users::id).nullable())),
            )
            .order(worker.field(users::id))
            .select((worker.field(users::name), boss.field(users::name)))
            .as_of(moment)
            .load::<(String, String)>(&mut conn)
            .unwrap();
        assert_eq!(
            rows,
            [("bob".into(), "ada".into()), ("cy".into(), "ada".into())]
        );
    }
}

#[test]
fn aggregates_and_groups() {
    let (db, moment) = changed();
    for mut conn in readers(&db) {
        let total = invoices::table.select(sum(invoices::total)).as_of(moment);
        assert_eq!(
            total.get_result::<Option<i64>>(&mut conn).unwrap(),
            Some(60)
        );
        assert_eq!(
            users::table
                .count()
                .as_of(moment)
                .get_result::<i64>(&mut conn)
                .unwrap(),
            3
        );
        let grouped = users::table
            .inner_join(invoices::table)
            .group_by(users::name)
            .having(count_star().gt(1))
            .select((users::name, sum(invoices::total), count_star()))
            .as_of(moment)
            .load::<(String, Option<i64>, i64)>(&mut conn)
            .unwrap();
        assert_eq!(grouped, [("bob".to_owned(), Some(50), 2)]);
    }
}

#[test]
fn subselects_are_of_the_moment_too() {
    let (db, moment) = changed();
    for mut conn in readers(&db) {
        let with_invoices = users::table
            .filter(users::id.eq_any(invoices::table.select(invoices::user_id)))
            .filter(exists(
                invoices::table
                    .filter(invoices::user_id.eq(users::id))
                    .filter(invoices::total.ge(30)),
            ))
            .select(users::name)
            .as_of(moment)
            .load::<String>(&mut conn)
            .unwrap();
        assert_eq!(with_invoices, ["bob"]);
    }
}

#[test]
fn boxed_queries_unions_and_belonging_to() {
    let (db, moment) = changed();
    for mut conn in readers(&db) {
        let boxed = users::table
            .into_boxed()
            .filter(users::id.gt(1))
            .as_of(moment);
        assert_eq!(boxed.load::<User>(&mut conn).unwrap().len(), 2);
        let union = users::table
            .select(users::id)
            .union(invoices::table.select(invoices::id))
            .as_of(moment)
            .load::<i64>(&mut conn)
            .unwrap();
        assert_eq!(union.len(), 3);
        let bobs = Invoice::belonging_to(&user(2, "bob", None))
            .order(invoices::id)
            .select(Invoice::as_select())
            .as_of(moment)
            .load(&mut conn)
            .unwrap();
        assert_eq!(
            bobs.iter().map(|invoice| invoice.total).collect::<Vec<_>>(),
            [20, 30]
        );
    }
}
