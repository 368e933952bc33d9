//! The way through: a model, its migration, a write, its history.

use chrono::Utc;
use diesel::prelude::*;
use threadline::{ActorRef, AsOf, AuditContext, Op, Snapshot, change, prelude::*};
use threadline_tests::TestDb;

diesel::table! {
    users (id) { id -> BigInt, email -> Text, ssn -> Nullable<Text>, }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, Audited)]
#[diesel(table_name = users)]
#[audited(store_changed_from)]
struct User {
    id: i64,
    email: String,
    #[audited(mask)]
    ssn: Option<String>,
}

#[test]
fn history_and_as_of() {
    let db = TestDb::new();
    db.create("CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, ssn text)");
    db.capture("users", User::DEFINITION);
    let mut app = db.app();
    let actor = ActorRef::user(7).unwrap();
    let before = Utc::now();
    threadline::transaction(&mut app, &AuditContext::new(actor.clone()), |conn| {
        diesel::insert_into(users::table)
            .values(User {
                id: 42,
                email: "a@x".into(),
                ssn: Some("1".into()),
            })
            .execute(conn)
    })
    .unwrap();
    let between = Utc::now();
    diesel::update(users::table.find(42))
        .set(users::email.eq("b@x"))
        .execute(&mut app)
        .unwrap();
    diesel::delete(users::table.find(42))
        .execute(&mut app)
        .unwrap();

    let mut auditor = db.auditor();
    let history = User::history(42).load(&mut auditor).unwrap();
    let ops: Vec<_> = history.iter().map(|c| c.op).collect();
    assert_eq!(ops, [Op::Delete, Op::Update, Op::Insert]);
    assert_eq!(history[2].actor(), Some(&actor));
    assert_eq!(history[2].after().unwrap().email, "a@x");
    assert_eq!(history[2].redacted, ["ssn"]);
    assert_eq!(
        history[1]
            .changed_from
            .as_ref()
            .map(threadline::RecordedRow::to_value),
        Some(serde_json::json!({"email": "a@x"}))
    );
    assert_eq!(history[1].actor(), None);
    let last = User {
        id: 42,
        email: "b@x".into(),
        ssn: None,
    };
    assert_eq!(history[0].snapshot, Snapshot::Before(last));

    let updates = User::history(42)
        .filter(change::op.eq(Op::Update))
        .filter(users::email.eq("b@x"))
        .limit(10)
        .load(&mut auditor)
        .unwrap();
    assert_eq!(updates.len(), 1);
    assert_eq!(
        User::changes_of(42)
            .count()
            .get_result::<i64>(&mut auditor)
            .unwrap(),
        3
    );

    match User::as_of(42, between).get_result(&mut auditor).unwrap() {
        AsOf::Found { row, origin, .. } => {
            assert_eq!(row.email, "a@x");
            assert_eq!(origin.change_id, history[2].id);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        User::as_of(42, before).get_result(&mut auditor).unwrap(),
        AsOf::NotYetCreated
    );
    assert!(matches!(
        User::as_of(42, diesel::dsl::now)
            .get_result(&mut auditor)
            .unwrap(),
        AsOf::Deleted(_)
    ));
}
