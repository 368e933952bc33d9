//! The incident playbook's raw SQL runs unchanged, and the typed API gives the same rows in the same order.

mod answers;
mod playbook;
mod scenarios;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::{Value, json};
use threadline::schema::{audit_actions, audit_changes, audit_transactions};
use threadline::{Action, ActorRef, AsOf, AuditContext, change, prelude::*, record_action};
use threadline_tests::{TestDb, execute};
use uuid::Uuid;

/// The playbook's own constants.
const TRANSACTION: Uuid = Uuid::from_u128(0x123);
const USER: i64 = 123;
const SERVICE_ACCOUNT: &str = "service-acct-uuid";

diesel::table! { users (id) { id -> BigInt, email -> Text, name -> Nullable<Text>, } }
diesel::table! { posts (id) { id -> BigInt, title -> Text, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, Audited)]
#[diesel(table_name = users)]
#[audited(store_changed_from)]
struct User {
    id: i64,
    email: String,
    name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, Audited)]
#[diesel(table_name = posts)]
struct Post {
    id: i64,
    title: String,
}

/// Where a captured transaction is moved to.
enum Moment {
    /// At this time of 2024-03-15.
    At(&'static str),
    /// Inside the day of the service account's recipe, whenever it runs.
    Today(i32),
    /// Before it.
    LongAgo,
}

/// Captures one transaction and moves it. Its source tells it from the others.
fn captured(
    db: &TestDb,
    moment: Moment,
    actor: ActorRef,
    work: impl FnOnce(&mut PgConnection) -> QueryResult<()>,
) -> Uuid {
    let id = threadline::transaction(&mut db.app(), &AuditContext::new(actor), |app| {
        work(app)?;
        threadline::transaction_id().get_result::<Option<Uuid>>(app)
    })
    .unwrap()
    .unwrap();
    let to = match moment {
        Moment::At(time) => format!("'2024-03-15 {time}Z'::timestamptz"),
        Moment::Today(minutes) => format!("now() + interval '1 day {minutes} minutes'"),
        Moment::LongAgo => "now() - interval '3 days'".to_owned(),
    };
    execute(
        &mut db.superuser(),
        &format!(
            "SET session_replication_role = replica;
             UPDATE audit_changes SET captured_at = {to} WHERE transaction_id = '{id}';
             UPDATE audit_transactions SET occurred_at = {to} WHERE id = '{id}'"
        ),
    );
    id
}

fn update(email: &'static str) -> impl FnOnce(&mut PgConnection) -> QueryResult<()> {
    move |app| {
        diesel::update(users::table.find(USER))
            .set(users::email.eq(email))
            .execute(app)
            .map(drop)
    }
}

fn incident() -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, name text);
         CREATE TABLE posts (id bigint PRIMARY KEY, title text NOT NULL)",
    );
    for plan in threadline::models![User, Post].plans().unwrap() {
        db.apply(&plan).unwrap();
    }
    let ann = || ActorRef::user("ann").unwrap();
    let service = || ActorRef::service_account(SERVICE_ACCOUNT).unwrap();
    let user = |id| User {
        id,
        email: "first@x".into(),
        name: None,
    };
    captured(&db, Moment::At("09:00:00"), ann(), |app| {
        diesel::insert_into(users::table)
            .values(vec![user(USER), user(1234), user(12)])
            .execute(app)
            .map(drop)
    });
    captured(
        &db,
        Moment::At("09:59:59.999999"),
        ann(),
        update("before the window@x"),
    );
    captured(&db, Moment::At("10:00:00"), ann(), update("window opens@x"));
    // Two changes of the row at one time, in two tables and with an action.
    let drilldown = captured(
        &db,
        Moment::At("10:20:00"),
        ActorRef::job("nightly").unwrap(),
        |app| {
            update("twice@x")(app)?;
            diesel::insert_into(posts::table)
                .values(Post {
                    id: 1,
                    title: "t".into(),
                })
                .execute(app)?;
            diesel::update(users::table.find(USER))
                .set(users::name.eq("Ann"))
                .execute(app)?;
            diesel::delete(posts::table).execute(app)?;
            record_action(
                Action::new("user.renamed")
                    .job_id("8812")
                    .correlation_id("checkout-19"),
            )
            .execute(app)
            .map(drop)
        },
    );
    captured(
        &db,
        Moment::At("10:30:00"),
        ann(),
        update("the moment itself@x"),
    );
    captured(&db, Moment::At("10:40:00"), ann(), |app| {
        diesel::update(users::table.find(1234))
            .set(users::email.eq("another row@x"))
            .execute(app)
            .map(drop)
    });
    captured(
        &db,
        Moment::At("11:00:00"),
        ann(),
        update("window closes@x"),
    );
    captured(
        &db,
        Moment::At("11:00:00.000001"),
        ann(),
        update("after the window@x"),
    );
    captured(&db, Moment::LongAgo, service(), update("not today@x"));
    captured(&db, Moment::Today(1), service(), |app| {
        update("today@x")(app)?;
        diesel::insert_into(posts::table)
            .values(Post {
                id: 2,
                title: "t".into(),
            })
            .execute(app)
            .map(drop)
    });
    captured(
        &db,
        Moment::Today(2),
        ActorRef::service_account("another").unwrap(),
        update("another service@x"),
    );
    captured(&db, Moment::Today(3), service(), |app| {
        diesel::delete(users::table.find(USER))
            .execute(app)
            .map(drop)
    });
    execute(
        &mut db.superuser(),
        &format!(
            "SET session_replication_role = replica;
             UPDATE audit_changes SET transaction_id = '{TRANSACTION}' WHERE transaction_id = '{drilldown}';
             UPDATE audit_transactions SET id = '{TRANSACTION}' WHERE id = '{drilldown}';
             UPDATE audit_actions SET transaction_id = '{TRANSACTION}' WHERE transaction_id = '{drilldown}';
             UPDATE audit_commits SET transaction_id = '{TRANSACTION}' WHERE transaction_id = '{drilldown}'"
        ),
    );
    db
}

fn time(time: &str) -> DateTime<Utc> {
    format!("2024-03-15T{time}Z").parse().unwrap()
}

#[derive(Debug, PartialEq, QueryableByName, Queryable)]
struct Changed {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Jsonb)]
    table_pk: Value,
    #[diesel(sql_type = Text)]
    op: String,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    changed_fields: Option<Vec<String>>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    changed_from: Option<Value>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    data_after: Option<Value>,
}

type ChangedColumns = (
    audit_changes::id,
    audit_changes::table_name,
    audit_changes::table_pk,
    audit_changes::op,
    audit_changes::changed_fields,
    audit_changes::changed_from,
    audit_changes::data_after,
);
