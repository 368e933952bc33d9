//! History queries compose like any Diesel query.

mod clauses;
mod selects;
mod tables;

use diesel::dsl::{count_star, max};
use diesel::prelude::*;
use serde_json::json;
use threadline::{ActorRef, AuditContext, Change, Op, change, prelude::*, recorded};
use threadline_tests::TestDb;

diesel::table! { users (id) { id -> BigInt, email -> Text, age -> Nullable<Integer>, } }
diesel::table! { billing.invoices (id) { id -> Integer, total -> BigInt, } }

#[derive(Debug, PartialEq, Queryable, Selectable, Insertable, Audited)]
#[diesel(table_name = users)]
#[audited(store_changed_from)]
struct User {
    id: i64,
    email: String,
    age: Option<i32>,
}

/// A second model of the table, which reads a part of it.
#[derive(Debug, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = users)]
#[audited(read_only)]
struct Mailbox {
    email: String,
}

#[derive(Debug, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = invoices)]
#[audited(store_changed_from)]
struct Invoice {
    id: i32,
    total: i64,
}

/// Row 1: inserted as a, updated to b by Ann, to c, deleted. Row 2: inserted.
fn users() -> TestDb {
    let db = TestDb::new();
    db.create("CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, age int)");
    for plan in threadline::models![User, Mailbox].plans().unwrap() {
        db.apply(&plan).unwrap();
    }
    let mut app = db.app();
    let row = |id, email: &str| User {
        id,
        email: email.into(),
        age: Some(30),
    };
    diesel::insert_into(users::table)
        .values(vec![row(1, "a@x"), row(2, "z@x")])
        .execute(&mut app)
        .unwrap();
    let ann = AuditContext::new(ActorRef::user("ann").unwrap())
        .source("web")
        .correlation_id("c-1");
    threadline::transaction(&mut app, &ann, |app| {
        diesel::update(users::table.find(1))
            .set(users::email.eq("b@x"))
            .execute(app)
    })
    .unwrap();
    diesel::update(users::table.find(1))
        .set((users::email.eq("c@x"), users::age.eq(None::<i32>)))
        .execute(&mut app)
        .unwrap();
    diesel::delete(users::table.find(1))
        .execute(&mut app)
        .unwrap();
    db
}

fn ops<M>(changes: &[Change<M>]) -> Vec<Op> {
    changes.iter().map(|c| c.op).collect()
}
