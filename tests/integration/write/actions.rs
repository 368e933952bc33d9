//! Actions and their links to what they changed.

use threadline::schema::{audit_actions, audit_changes};
use threadline::{Action, ActionStatus, record_action};
use threadline_tests::{execute, try_execute};

use super::*;

/// A stored action.
#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = audit_actions)]
struct Stored {
    transaction_id: Uuid,
    name: String,
    actor_ref: Option<ActorRef>,
    status: ActionStatus,
    verb: Option<String>,
    category: Option<String>,
    reason: Option<String>,
    comment: Option<String>,
    correlation_id: Option<String>,
    request_id: Option<String>,
    job_id: Option<String>,
}

pub fn record(conn: &mut impl LoadConnection<Backend = Pg>, action: Action) -> QueryResult<Uuid> {
    record_action(action).get_result(conn)
}

fn stored(db: &TestDb, action: Uuid) -> Stored {
    audit_actions::table
        .find(action)
        .select(Stored::as_select())
        .first(&mut db.auditor())
        .unwrap()
}

pub fn actions(db: &TestDb) -> Vec<String> {
    audit_actions::table
        .select(audit_actions::name)
        .order(audit_actions::inserted_at)
        .load(&mut db.auditor())
        .unwrap()
}

#[test]
fn an_action_and_its_changes_find_each_other_in_either_order() {
    let db = notes_db();
    let mut app = db.app();
    for write_first in [true, false] {
        let note = i64::from(write_first);
        let action = threadline::transaction(&mut app, &user(1), |conn| {
            if write_first {
                insert(conn, note)?;
            }
            let action = record(conn, Action::new("note.added"))?;
            if !write_first {
                insert(conn, note)?;
            }
            Ok::<_, Error>(action)
        })
        .unwrap();

        let mut auditor = db.auditor();
        let transaction = stored(&db, action).transaction_id;
        let named = audit_transactions::table
            .find(transaction)
            .select(audit_transactions::action_id)
            .first::<Option<Uuid>>(&mut auditor)
            .unwrap();
        assert_eq!(named, Some(action), "write first: {write_first}");
        let changes = audit_changes::table.filter(audit_changes::transaction_id.eq(transaction));
        assert_eq!(changes.count().get_result(&mut auditor), Ok(1));
    }
}

#[test]
fn the_first_of_two_actions_is_the_one_of_the_transaction() {
    let db = notes_db();
    let (first, second) =
        threadline::transaction::<_, _, Error, _>(&mut db.app(), &user(1), |conn| {
            let first = record(conn, Action::new("first"))?;
            insert(conn, 1)?;
            Ok((first, record(conn, Action::new("second"))?))
        })
        .unwrap();
    assert_ne!(first, second);
    let transaction = &transactions(&db)[0];
    assert_eq!(transaction.action_id, Some(first));
    assert_eq!(stored(&db, first).transaction_id, transaction.id);
    assert_eq!(stored(&db, second).transaction_id, transaction.id);
}

#[test]
fn an_action_that_was_rolled_back_is_not_the_first() {
    let db = notes_db();
    for write_first in [true, false] {
        let action = threadline::transaction::<_, _, Error, _>(&mut db.app(), &user(1), |conn| {
            if write_first {
                insert(conn, 1)?;
            }
            let inner = threadline::transaction(conn, &user(1), |conn| {
                record(conn, Action::new("undone"))?;
                Err::<(), _>(AppError::Refused)
            });
            assert!(inner.is_err());
            let action = record(conn, Action::new("done"))?;
            insert(conn, 2 + i64::from(write_first))?;
            Ok(action)
        })
        .unwrap();
        let transaction = transactions(&db).pop().unwrap();
        assert_eq!(transaction.action_id, Some(action));
        assert_eq!(stored(&db, action).transaction_id, transaction.id);
    }
    assert_eq!(actions(&db), ["done", "done"]);
}

#[test]
fn an_action_without_changes_is_kept() {
    let db = notes_db();
    let mut app = db.app();
    let inside = threadline::transaction(&mut app, &user(1), |conn| {
        record(conn, Action::new("report.viewed"))
    })
    .unwrap();
    let alone = record(&mut app, Action::new("user.signed_in")).unwrap();
    assert_eq!(actions(&db), ["report.viewed", "user.signed_in"]);
    assert_ne!(
        stored(&db, inside).transaction_id,
        stored(&db, alone).transaction_id
    );
    assert_eq!(transactions(&db), [], "there is nothing to link to");
}

#[test]
fn it_takes_from_the_context_what_it_does_not_name() {
    let db = notes_db();
    let (plain, explicit) =
        threadline::transaction::<_, _, Error, _>(&mut db.app(), &full("42"), |conn| {
            let explicit = Action::new("invoice.refunded")
                .actor(ActorRef::admin("ops").unwrap())
                .status(ActionStatus::Error)
                .verb("refund")
                .category("billing")
                .reason("period_closed")
                .comment("see #8812")
                .correlation_id("c")
                .request_id("r")
                .job_id("j");
            Ok((
                record(conn, Action::new("invoice.viewed"))?,
                record(conn, explicit)?,
            ))
        })
        .unwrap();

    let plain = stored(&db, plain);
    assert_eq!(
        plain,
        Stored {
            transaction_id: plain.transaction_id,
            name: "invoice.viewed".into(),
            actor_ref: Some(ActorRef::user(42).unwrap()),
            status: ActionStatus::Ok,
            verb: None,
            category: None,
            reason: None,
            comment: None,
            correlation_id: Some("checkout-19".into()),
            request_id: Some("req-7".into()),
            job_id: Some("8812".into()),
        }
    );
    assert_eq!(
        stored(&db, explicit),
        Stored {
            transaction_id: plain.transaction_id,
            name: "invoice.refunded".into(),
            actor_ref: Some(ActorRef::admin("ops").unwrap()),
            status: ActionStatus::Error,
            verb: Some("refund".into()),
            category: Some("billing".into()),
            reason: Some("period_closed".into()),
            comment: Some("see #8812".into()),
            correlation_id: Some("c".into()),
            request_id: Some("r".into()),
            job_id: Some("j".into()),
        }
    );
}

#[test]
fn a_name_has_limits_and_other_texts_are_cut() {
    let db = notes_db();
    let mut app = db.app();
    for name in [String::new(), "x".repeat(256)] {
        let refusal = record(&mut app, Action::new(name)).unwrap_err().to_string();
        assert!(
            refusal.contains("a name of 1 to 255 characters"),
            "{refusal}"
        );
    }
    let long = "ä".repeat(70_000);
    let action = Action::new("ü".repeat(255))
        .verb(&long)
        .reason(&long)
        .comment(&long);
    let id = record(&mut app, action).unwrap();
    let stored = stored(&db, id);
    let length = |text: Option<String>| text.unwrap().chars().count();
    assert_eq!(length(stored.verb), 255);
    assert_eq!(length(stored.reason), 4_096);
    assert_eq!(length(stored.comment), 65_536);
}

#[test]
fn an_action_belongs_to_its_own_transaction_only() {
    let db = notes_db();
    let mut app = db.app();
    let (action, transaction) =
        threadline::transaction::<_, _, Error, _>(&mut app, &user(1), |conn| {
            insert(conn, 1)?;
            let action = record(conn, Action::new("note.added"))?;
            Ok((
                action,
                threadline::transaction_id().get_result::<Option<Uuid>>(conn)?,
            ))
        })
        .unwrap();
    // What an earlier transaction said of its actions claims nothing here.
    execute(&mut app, "SET threadline.actions = '1'");
    threadline::transaction(&mut app, &user(2), |conn| insert(conn, 2)).unwrap();
    let other = transactions(&db).pop().unwrap();
    assert_ne!(Some(other.id), transaction);
    assert_ne!(other.action_id, Some(action));

    let forged = format!("UPDATE audit_transactions SET action_id = '{action}'");
    let refusal = try_execute(&mut app, &forged).unwrap_err();
    assert!(refusal.contains("permission denied"), "{refusal}");
}
