//! The incident playbook's raw SQL runs unchanged, and the typed API gives the same rows in the same order.

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

#[test]
fn who_changed_this_row() {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(embed)]
        changed: Changed,
        #[diesel(sql_type = Timestamptz)]
        captured_at: DateTime<Utc>,
        #[diesel(sql_type = Nullable<Jsonb>)]
        actor_ref: Option<ActorRef>,
    }
    let mut conn = incident().auditor();
    let recipe: Vec<Row> = diesel::sql_query(include_str!("../recipes/who_changed_this_row.sql"))
        .load(&mut conn)
        .unwrap();
    let emails: Vec<_> = recipe
        .iter()
        .map(|r| {
            r.changed.data_after.as_ref().unwrap()["email"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(
        emails,
        [
            "window closes@x",
            "the moment itself@x",
            "twice@x",
            "twice@x",
            "window opens@x"
        ]
    );

    let typed = User::history(USER)
        .filter(change::captured_at.between(time("10:00:00"), time("11:00:00")))
        .load(&mut conn)
        .unwrap();
    assert_eq!(typed.len(), recipe.len());
    for (typed, raw) in typed.iter().zip(&recipe) {
        let Changed {
            id,
            table_name,
            table_pk,
            op,
            changed_fields,
            changed_from,
            data_after,
        } = &raw.changed;
        assert_eq!((typed.id, typed.op.as_str()), (*id, op.as_str()));
        assert_eq!(
            (&typed.changed_fields, &typed.changed_from),
            (changed_fields, changed_from)
        );
        assert_eq!(
            (typed.captured_at, typed.actor()),
            (raw.captured_at, raw.actor_ref.as_ref())
        );
        assert_eq!(
            (table_name.as_str(), table_pk),
            ("users", &json!({"id": "123"}))
        );
        let User { id, email, name } = typed.after().unwrap();
        assert_eq!(
            data_after,
            &Some(json!({"id": id, "email": email, "name": name}))
        );
    }
}

#[test]
fn what_did_this_service_account_do() {
    #[derive(Debug, PartialEq, QueryableByName, Queryable)]
    struct Row {
        #[diesel(sql_type = SqlUuid)]
        transaction_id: Uuid,
        #[diesel(sql_type = Timestamptz)]
        occurred_at: DateTime<Utc>,
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
    let mut conn = incident().auditor();
    let recipe: Vec<Row> = diesel::sql_query(include_str!(
        "../recipes/what_did_this_service_account_do.sql"
    ))
    .load(&mut conn)
    .unwrap();
    let writes: Vec<_> = recipe
        .iter()
        .map(|r| (r.table_name.as_str(), r.op.as_str()))
        .collect();
    assert_eq!(
        writes,
        [
            ("users", "delete"),
            ("posts", "insert"),
            ("users", "update")
        ]
    );

    let day_start = Utc::now()
        .date_naive()
        .and_time(chrono::NaiveTime::MIN)
        .and_utc();
    let typed: Vec<Row> = audit_transactions::table
        .inner_join(audit_changes::table)
        .filter(
            audit_transactions::actor_ref.eq(ActorRef::service_account(SERVICE_ACCOUNT).unwrap()),
        )
        .filter(audit_transactions::occurred_at.ge(day_start))
        .order((
            audit_transactions::occurred_at.desc(),
            audit_changes::captured_at.desc(),
            audit_changes::id.desc(),
        ))
        .select((
            audit_transactions::id,
            audit_transactions::occurred_at,
            audit_changes::table_name,
            audit_changes::table_pk,
            audit_changes::op,
            audit_changes::changed_fields,
            audit_changes::changed_from,
            audit_changes::data_after,
        ))
        .load(&mut conn)
        .unwrap();
    assert_eq!(typed, recipe);
}

#[test]
fn did_this_job_mutate_the_database() {
    #[derive(Debug, PartialEq, QueryableByName)]
    struct Row {
        #[diesel(embed)]
        changed: Changed,
        #[diesel(sql_type = Nullable<Text>)]
        job_id: Option<String>,
        #[diesel(sql_type = Nullable<Text>)]
        correlation_id: Option<String>,
    }
    let mut conn = incident().auditor();
    let recipe: Vec<Row> = diesel::sql_query(include_str!(
        "../recipes/did_this_job_mutate_the_database.sql"
    ))
    .load(&mut conn)
    .unwrap();
    let writes: Vec<_> = recipe
        .iter()
        .map(|r| (r.changed.table_name.as_str(), r.changed.op.as_str()))
        .collect();
    assert_eq!(
        writes,
        [
            ("posts", "delete"),
            ("users", "update"),
            ("posts", "insert"),
            ("users", "update")
        ]
    );
    assert_eq!(
        (
            recipe[0].job_id.as_deref(),
            recipe[0].correlation_id.as_deref()
        ),
        (Some("8812"), Some("checkout-19"))
    );

    let typed: Vec<(Changed, (Option<String>, Option<String>))> = audit_changes::table
        .inner_join(audit_transactions::table)
        .left_join(
            audit_actions::table.on(audit_actions::id
                .nullable()
                .eq(audit_transactions::action_id)),
        )
        .filter(audit_changes::transaction_id.eq(TRANSACTION))
        .order((audit_changes::captured_at.desc(), audit_changes::id.desc()))
        .select((
            ChangedColumns::default(),
            (
                audit_actions::job_id.nullable(),
                audit_actions::correlation_id.nullable(),
            ),
        ))
        .load(&mut conn)
        .unwrap();
    let typed: Vec<_> = typed
        .into_iter()
        .map(|(changed, (job_id, correlation_id))| Row {
            changed,
            job_id,
            correlation_id,
        })
        .collect();
    assert_eq!(typed, recipe);
}

#[test]
fn what_did_this_row_look_like() {
    #[derive(Debug, PartialEq, QueryableByName, Queryable)]
    struct Row {
        #[diesel(sql_type = Text)]
        op: String,
        #[diesel(sql_type = Nullable<Jsonb>)]
        data_after: Option<Value>,
        #[diesel(sql_type = Nullable<Array<Text>>)]
        changed_fields: Option<Vec<String>>,
        #[diesel(sql_type = Nullable<Jsonb>)]
        changed_from: Option<Value>,
        #[diesel(sql_type = Timestamptz)]
        captured_at: DateTime<Utc>,
    }
    let mut conn = incident().auditor();
    let recipe: Vec<Row> =
        diesel::sql_query(include_str!("../recipes/what_did_this_row_look_like.sql"))
            .load(&mut conn)
            .unwrap();
    assert_eq!(
        recipe.iter().map(|r| r.op.as_str()).collect::<Vec<_>>(),
        ["insert", "update", "update", "update", "update", "update"]
    );

    let moment = time("10:30:00");
    let typed: Vec<Row> = User::changes_of(USER)
        .filter(change::captured_at.le(moment))
        .order((change::captured_at.asc(), change::id.asc()))
        .select((
            change::op,
            change::data_after,
            change::changed_fields,
            change::changed_from,
            change::captured_at,
        ))
        .load(&mut conn)
        .unwrap();
    assert_eq!(typed, recipe);

    // The newest of them is the row; the service account's write of three days ago came later in the log.
    let AsOf::Found { row, origin, .. } = User::as_of(USER, moment).get_result(&mut conn).unwrap()
    else {
        panic!()
    };
    assert_eq!(
        row,
        User {
            id: USER,
            email: "the moment itself@x".into(),
            name: Some("Ann".into())
        }
    );
    let last = recipe.last().unwrap();
    assert_eq!(
        last.data_after,
        Some(json!({"id": 123, "email": "the moment itself@x", "name": "Ann"}))
    );
    assert_eq!(origin.captured_at, last.captured_at);
}

#[test]
fn what_happened_in_this_transaction() {
    #[derive(Debug, PartialEq, QueryableByName)]
    struct Row {
        #[diesel(embed)]
        changed: Changed,
        #[diesel(sql_type = Timestamptz)]
        captured_at: DateTime<Utc>,
    }
    let mut conn = incident().auditor();
    let recipe: Vec<Row> = diesel::sql_query(include_str!(
        "../recipes/what_happened_in_this_transaction.sql"
    ))
    .load(&mut conn)
    .unwrap();
    let typed: Vec<(Changed, DateTime<Utc>)> = audit_changes::table
        .filter(audit_changes::transaction_id.eq(TRANSACTION))
        .order((audit_changes::captured_at.desc(), audit_changes::id.desc()))
        .select((ChangedColumns::default(), audit_changes::captured_at))
        .load(&mut conn)
        .unwrap();
    let typed: Vec<_> = typed
        .into_iter()
        .map(|(changed, captured_at)| Row {
            changed,
            captured_at,
        })
        .collect();
    assert_eq!(typed, recipe);

    // And model by model.
    let mut ids = User::changes()
        .filter(change::transaction_id.eq(TRANSACTION))
        .select(change::id)
        .load::<i64>(&mut conn)
        .unwrap();
    ids.extend(
        Post::changes()
            .filter(change::transaction_id.eq(TRANSACTION))
            .select(change::id)
            .load::<i64>(&mut conn)
            .unwrap(),
    );
    ids.sort_by(|a, b| b.cmp(a));
    assert_eq!(ids, recipe.iter().map(|r| r.changed.id).collect::<Vec<_>>());
}
