//! History queries compose like any Diesel query.

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

#[test]
fn newest_first() {
    let mut conn = users().auditor();
    let history = User::history(1).load(&mut conn).unwrap();
    assert_eq!(
        ops(&history),
        [Op::Delete, Op::Update, Op::Update, Op::Insert]
    );
    assert!(history.is_sorted_by(|a, b| a.id > b.id));
    assert_eq!(history[0].deleted().unwrap().email, "c@x");
    assert_eq!(history[0].after(), None);
    assert_eq!(
        history[1].changed_fields,
        Some(vec!["age".to_owned(), "email".to_owned()])
    );
    assert_eq!(
        history[1]
            .changed_from
            .as_ref()
            .map(threadline::RecordedRow::to_value),
        Some(json!({"email": "b@x", "age": 30}))
    );
    assert_eq!(history[3].changed_fields, None);
}

#[test]
fn the_transaction_comes_with_the_change() {
    let mut conn = users().auditor();
    let history = User::history(1).load(&mut conn).unwrap();
    let transaction = history[2].transaction.as_ref().unwrap();
    assert_eq!(history[2].actor(), Some(&ActorRef::user("ann").unwrap()));
    assert_eq!(transaction.source.as_deref(), Some("web"));
    assert_eq!(transaction.correlation_id.as_deref(), Some("c-1"));
    assert_eq!(history[1].actor(), None);
}

#[test]
fn filters_on_metadata() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    assert_eq!(
        User::history(1)
            .filter(change::op.eq(Op::Update))
            .load(conn)
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        User::history(1)
            .filter(change::op.eq_any([Op::Insert, Op::Delete]))
            .load(conn)
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        User::history(1)
            .filter(change::changed_fields.contains(vec!["age"]))
            .load(conn)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        User::history(1)
            .filter(change::actor_ref.eq(ActorRef::user("ann").unwrap()))
            .load(conn)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        User::history(1)
            .filter(change::source.eq("web"))
            .load(conn)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        User::history(1)
            .filter(change::captured_at.lt(diesel::dsl::now))
            .load(conn)
            .unwrap()
            .len(),
        4
    );
    assert_eq!(
        User::history(1)
            .filter(
                change::correlation_id
                    .is_null()
                    .and(change::op.ne(Op::Delete))
            )
            .load(conn)
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn filters_on_columns_of_the_model() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    let b = User::history(1)
        .filter(users::email.eq("b@x"))
        .load(conn)
        .unwrap();
    assert_eq!(ops(&b), [Op::Update]);
    // The last state of a deleted row counts as the delete's.
    assert_eq!(
        ops(&User::history(1)
            .filter(users::age.is_null())
            .load(conn)
            .unwrap()),
        [Op::Delete, Op::Update]
    );
    let both = User::history(1)
        .filter(users::email.like("%@x").and(change::op.eq(Op::Insert)))
        .load(conn)
        .unwrap();
    assert_eq!(ops(&both), [Op::Insert]);
}

#[test]
fn another_order_a_limit_and_an_offset() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    let oldest = User::history(1)
        .order(change::id.asc())
        .limit(2)
        .load(conn)
        .unwrap();
    assert_eq!(ops(&oldest), [Op::Insert, Op::Update]);
    let page = User::history(1).limit(2).offset(1).load(conn).unwrap();
    assert_eq!(ops(&page), [Op::Update, Op::Update]);
    let by_value = User::changes_of(1)
        .order((users::email.desc(), change::id))
        .load(conn)
        .unwrap();
    assert_eq!(
        ops(&by_value),
        [Op::Update, Op::Delete, Op::Update, Op::Insert]
    );
}

#[test]
fn first_and_optional() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    assert_eq!(User::history(1).first(conn).unwrap().op, Op::Delete);
    assert_eq!(User::history(99).first(conn).optional().unwrap(), None);
    let newest: Change<User> = User::history(2).get_result(conn).unwrap();
    assert_eq!(newest.op, Op::Insert);
}

#[test]
fn boxed() {
    let mut conn = users().auditor();
    let mut query = User::history(1).into_boxed();
    for op in [Op::Delete, Op::Insert] {
        query = query.filter(change::op.ne(op));
    }
    query = query.filter(users::email.ne("b@x")).limit(5);
    assert_eq!(ops(&query.load(&mut conn).unwrap()), [Op::Update]);
    let all = User::changes()
        .into_boxed()
        .or_filter(change::op.eq(Op::Insert))
        .or_filter(users::id.eq(2));
    assert_eq!(all.load(&mut conn).unwrap().len(), 2);
}

#[test]
fn select_a_part() {
    let mut conn = users().auditor();
    let part: Vec<(Op, Option<String>, Option<i32>)> = User::history(1)
        .select((change::op, recorded(users::email), recorded(users::age)))
        .load(&mut conn)
        .unwrap();
    assert_eq!(
        part,
        [
            (Op::Delete, Some("c@x".into()), None),
            (Op::Update, Some("c@x".into()), None),
            (Op::Update, Some("b@x".into()), Some(30)),
            (Op::Insert, Some("a@x".into()), Some(30)),
        ]
    );
}

#[test]
fn select_the_stored_images() {
    let mut conn = users().auditor();
    let image: Option<serde_json::Value> = User::history(1)
        .filter(change::op.eq(Op::Insert))
        .select(change::data_after)
        .first(&mut conn)
        .unwrap();
    assert_eq!(image, Some(json!({"id": 1, "email": "a@x", "age": 30})));
    let key: serde_json::Value = User::history(1)
        .select(change::table_pk)
        .first(&mut conn)
        .unwrap();
    assert_eq!(key, json!({"id": "1"}));
}

#[test]
fn count_and_aggregates() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    assert_eq!(
        User::changes_of(1).count().get_result::<i64>(conn).unwrap(),
        4
    );
    assert_eq!(
        User::changes()
            .filter(change::op.eq(Op::Insert))
            .count()
            .get_result::<i64>(conn)
            .unwrap(),
        2
    );
    let newest: Option<i64> = User::changes_of(1)
        .select(max(change::id))
        .get_result(conn)
        .unwrap();
    assert_eq!(newest, Some(User::history(1).first(conn).unwrap().id));
}

#[test]
fn distinct_and_grouped() {
    let mut conn = users().auditor();
    let conn = &mut conn;
    let distinct: Vec<Op> = User::changes_of(1)
        .select(change::op)
        .distinct()
        .order(change::op)
        .load(conn)
        .unwrap();
    assert_eq!(distinct, [Op::Delete, Op::Insert, Op::Update]);
    let grouped: Vec<(Op, i64)> = User::changes()
        .group_by(change::op)
        .select((change::op, count_star()))
        .order(change::op)
        .load(conn)
        .unwrap();
    assert_eq!(grouped, [(Op::Delete, 1), (Op::Insert, 2), (Op::Update, 2)]);
}

#[test]
fn all_changes_of_the_table() {
    let mut conn = users().auditor();
    let changes = User::changes()
        .order(change::id.desc())
        .limit(3)
        .load(&mut conn)
        .unwrap();
    assert_eq!(ops(&changes), [Op::Delete, Op::Update, Op::Update]);
}

#[test]
fn a_read_only_model_reads_its_part() {
    let mut conn = users().auditor();
    let history = Mailbox::history(1).load(&mut conn).unwrap();
    assert_eq!(
        history[1].after(),
        Some(&Mailbox {
            email: "c@x".into()
        })
    );
    assert_eq!(history.len(), 4);
}

#[test]
fn tables_with_a_schema() {
    let db = TestDb::new();
    db.create("CREATE SCHEMA billing; CREATE TABLE billing.invoices (id int PRIMARY KEY, total bigint NOT NULL); CREATE TABLE invoices (id int PRIMARY KEY)");
    db.capture("billing.invoices", Invoice::DEFINITION);
    let mut app = db.app();
    diesel::insert_into(invoices::table)
        .values((invoices::id.eq(7), invoices::total.eq(10)))
        .execute(&mut app)
        .unwrap();
    diesel::update(invoices::table.find(7))
        .set(invoices::total.eq(20))
        .execute(&mut app)
        .unwrap();
    let mut conn = db.auditor();
    let history = Invoice::history(7).load(&mut conn).unwrap();
    assert_eq!(
        history
            .iter()
            .map(|c| c.after().unwrap().total)
            .collect::<Vec<_>>(),
        [20, 10]
    );
    let large: Vec<(Op, Option<i64>)> = Invoice::history(7)
        .filter(recorded(invoices::total).gt(15))
        .order(recorded(invoices::total).desc())
        .select((change::op, recorded(invoices::total)))
        .load(&mut conn)
        .unwrap();
    assert_eq!(large, [(Op::Update, Some(20))]);
    let row = Invoice::as_of(7, diesel::dsl::now)
        .get_result(&mut conn)
        .unwrap()
        .into_row();
    assert_eq!(row, Some(Invoice { id: 7, total: 20 }));
}

#[test]
fn a_table_that_is_not_audited_is_an_error_that_names_it() {
    let db = TestDb::new();
    db.create("CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, age int)");
    let error = User::history(1)
        .load(&mut db.auditor())
        .unwrap_err()
        .to_string();
    assert!(error.contains("table users is not audited"), "{error}");
    let error = User::as_of(1, diesel::dsl::now)
        .get_result(&mut db.auditor())
        .unwrap_err()
        .to_string();
    assert!(error.contains("table users is not audited"), "{error}");
}

#[test]
fn the_application_reads_no_history() {
    let db = users();
    let error = User::history(1)
        .load(&mut db.app())
        .unwrap_err()
        .to_string();
    assert!(error.contains("permission denied"), "{error}");
}
