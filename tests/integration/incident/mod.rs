//! What an investigation asks of one transaction, or of everything that shares an id.

use diesel::prelude::*;
use threadline::{
    Action, ActionStatus, ActorRef, AuditContext, DiffOptions, Op, RecordedValue,
    audit_changes_for_transaction, change_diff, correlation_bundle, incident_bundle, record_action,
    transaction_context,
};
use threadline_tests::{TestDb, execute};
use uuid::Uuid;

fn items() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text)",
    );
    db
}

/// A transaction with these statements and an action for each of these names.
fn transaction(
    db: &TestDb,
    context: &AuditContext,
    statements: &[&str],
    actions: &[Action],
) -> Uuid {
    threadline::transaction(&mut db.app(), context, |app| {
        for sql in statements {
            diesel::sql_query(*sql).execute(app)?;
        }
        for action in actions {
            record_action(action.clone()).execute(app)?;
        }
        threadline::transaction_id().get_result::<Option<Uuid>>(app)
    })
    .unwrap()
    .unwrap_or_default()
}

fn nightly() -> AuditContext {
    AuditContext::new(ActorRef::job("nightly").unwrap())
}

#[test]
fn a_bundle_has_the_transaction_its_actions_and_every_change() {
    let db = items();
    let context = nightly()
        .correlation_id("c-1")
        .source("cron")
        .metadata("n", 1.5)
        .job_id("7");
    let actions = [
        Action::new("items.made").reason("asked").comment("twice"),
        Action::new("items.checked")
            .status(ActionStatus::Error)
            .actor(ActorRef::system("checker").unwrap()),
    ];
    let many = "INSERT INTO items SELECT n, 'a' FROM generate_series(1, 60) n";
    let id = transaction(
        &db,
        &context,
        &[
            many,
            "UPDATE items SET name = 'b' WHERE id = 1",
            "DELETE FROM items WHERE id = 2",
        ],
        &actions,
    );
    let conn = &mut db.auditor();
    let bundle = incident_bundle(id).get_result(conn).unwrap();

    let written = bundle.context.transaction.as_ref().unwrap();
    assert_eq!((written.id, bundle.context.id), (id, id));
    assert_eq!(
        (written.actor.clone(), written.source.as_deref()),
        (Some(ActorRef::job("nightly").unwrap()), Some("cron"))
    );
    assert_eq!(
        (written.job_id.as_deref(), written.correlation_id.as_deref()),
        (Some("7"), Some("c-1"))
    );
    assert_eq!(written.meta.as_ref().unwrap()["n"].as_json(), "1.5");
    assert_eq!(
        written.txid,
        i64::from_be_bytes(id.as_bytes()[8..].try_into().unwrap())
    );
    assert_eq!(written.session_user, "tl_app");
    assert!(written.committed_at.unwrap() >= written.occurred_at);

    let [made, checked] = bundle.context.actions.as_slice() else {
        panic!("{bundle:?}")
    };
    assert_eq!(
        (
            made.name.as_str(),
            made.reason.as_deref(),
            made.comment.as_deref()
        ),
        ("items.made", Some("asked"), Some("twice"))
    );
    assert_eq!(
        (made.status, made.actor.clone(), Some(made.id)),
        (ActionStatus::Ok, written.actor.clone(), written.action_id)
    );
    assert_eq!(
        (checked.status, checked.actor.clone()),
        (
            ActionStatus::Error,
            Some(ActorRef::system("checker").unwrap())
        )
    );

    // All of them, the newest first, whole.
    assert_eq!(bundle.changes.len(), 62);
    assert!(
        bundle
            .changes
            .is_sorted_by(|a, b| (a.captured_at, a.id) > (b.captured_at, b.id))
    );
    let [deleted, updated, ..] = bundle.changes.as_slice() else {
        panic!()
    };
    assert_eq!((deleted.op, &deleted.data_after), (Op::Delete, &None));
    assert_eq!(
        deleted.changed_from.as_ref().unwrap()["name"].as_json(),
        "\"a\""
    );
    assert_eq!(
        (updated.op, updated.changed_fields.clone()),
        (Op::Update, Some(vec!["name".to_owned()]))
    );
    assert_eq!(
        updated.data_after.as_ref().unwrap()["name"].as_json(),
        "\"b\""
    );
    assert_eq!(
        updated.changed_from.as_ref().unwrap()["name"].as_json(),
        "\"a\""
    );
    assert_eq!(
        updated.transaction.as_ref().unwrap().source.as_deref(),
        Some("cron")
    );

    // Its diff is made of it.
    let diff = change_diff(updated, DiffOptions::new());
    assert_eq!(
        diff.fields[0].after.recorded().map(RecordedValue::as_json),
        Some("\"b\"")
    );

    // The parts of it.
    assert_eq!(
        transaction_context(id).get_result(conn).unwrap(),
        bundle.context
    );
    let page = audit_changes_for_transaction(id).get_result(conn).unwrap();
    assert_eq!(
        (page.entries.as_slice(), page.has_more),
        (&bundle.changes[..50], true)
    );
    let rest = audit_changes_for_transaction(id)
        .at(&page.cursor.unwrap())
        .unwrap()
        .get_result(conn)
        .unwrap();
    assert_eq!(
        (rest.entries.as_slice(), rest.has_more),
        (&bundle.changes[50..], false)
    );
}

#[test]
fn what_is_malformed_or_unknown_is_not_found() {
    let db = items();
    transaction(&db, &nightly(), &["INSERT INTO items VALUES (1)"], &[]);
    let conn = &mut db.auditor();
    for id in [
        "",
        "no uuid",
        "a\0",
        "1",
        "'; DROP TABLE items",
        "00000000-0000-0000-0000-000000000123",
    ] {
        assert_eq!(
            incident_bundle(id).get_result(conn).unwrap_err(),
            diesel::NotFound,
            "{id}"
        );
        assert_eq!(
            transaction_context(id).get_result(conn).unwrap_err(),
            diesel::NotFound,
            "{id}"
        );
        assert_eq!(
            audit_changes_for_transaction(id)
                .get_result(conn)
                .unwrap_err(),
            diesel::NotFound,
            "{id}"
        );
        assert_eq!(
            correlation_bundle(id).get_result(conn).unwrap_err(),
            diesel::NotFound,
            "{id}"
        );
    }
    assert_eq!(
        incident_bundle(Uuid::nil())
            .get_result(conn)
            .optional()
            .unwrap(),
        None
    );
}

#[test]
fn what_the_log_has_lost_leaves_the_rest() {
    let db = items();
    let id = transaction(
        &db,
        &nightly(),
        &["INSERT INTO items VALUES (1)"],
        &[Action::new("a")],
    );
    let lose = |table: &str, column: &str| {
        execute(
            &mut db.superuser(),
            &format!("SET ROLE threadline_retention; DELETE FROM {table} WHERE {column} = '{id}'"),
        );
    };
    let conn = &mut db.auditor();
    lose("audit_transactions", "id");
    let bundle = incident_bundle(id).get_result(conn).unwrap();
    assert_eq!(
        (bundle.context.transaction, bundle.changes.len()),
        (None, 1)
    );
    assert_eq!(bundle.changes[0].transaction, None);
    lose("audit_changes", "transaction_id");
    let bundle = incident_bundle(id).get_result(conn).unwrap();
    assert_eq!((bundle.changes.len(), bundle.context.actions.len()), (0, 1));
}

#[test]
fn an_action_without_changes_is_found_too() {
    let db = items();
    transaction(
        &db,
        &nightly().correlation_id("c-1"),
        &[],
        &[Action::new("items.looked_at")],
    );
    let conn = &mut db.auditor();
    let bundle = correlation_bundle("c-1").get_result(conn).unwrap();
    assert_eq!((bundle.actions.len(), bundle.changes.entries.len()), (1, 0));
    let context = transaction_context(bundle.actions[0].transaction_id)
        .get_result(conn)
        .unwrap();
    assert_eq!(
        (context.transaction, context.actions),
        (None, bundle.actions)
    );
}

#[test]
fn a_correlation_has_actions_and_changes_that_share_it() {
    let db = items();
    let of = |id: &str| nightly().correlation_id(id);
    let by_context = transaction(&db, &of("c-1"), &["INSERT INTO items VALUES (1)"], &[]);
    let with_action = transaction(
        &db,
        &of("c-1"),
        &["INSERT INTO items VALUES (2)"],
        &[Action::new("second")],
    );
    let by_action = transaction(
        &db,
        &nightly(),
        &[
            "INSERT INTO items VALUES (3)",
            "INSERT INTO items VALUES (4)",
        ],
        &[Action::new("third").correlation_id("c-1")],
    );
    // An action that has another id, in a transaction that has this one.
    let aside = transaction(
        &db,
        &of("c-1"),
        &["INSERT INTO items VALUES (5)"],
        &[Action::new("aside").correlation_id("c-2")],
    );
    transaction(
        &db,
        &of("c-3"),
        &["INSERT INTO items VALUES (6)"],
        &[Action::new("other")],
    );

    let conn = &mut db.auditor();
    let bundle = correlation_bundle("c-1")
        .limit(3)
        .unwrap()
        .get_result(conn)
        .unwrap();
    let names: Vec<_> = bundle
        .actions
        .iter()
        .map(|action| action.name.as_str())
        .collect();
    assert_eq!(names, ["second", "third", "aside"]);
    let of = |bundle: &threadline::CorrelationBundle| {
        bundle
            .changes
            .entries
            .iter()
            .map(|change| change.transaction_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&bundle), [aside, by_action, by_action]);
    let rest = correlation_bundle("c-1")
        .at(&bundle.changes.cursor.clone().unwrap())
        .unwrap();
    let rest = rest.get_result(conn).unwrap();
    assert_eq!(of(&rest), [with_action, by_context]);
    assert_eq!(
        (rest.actions, rest.changes.has_more),
        (bundle.actions, false)
    );
    assert_eq!(
        correlation_bundle("c-2")
            .get_result(conn)
            .unwrap()
            .changes
            .entries
            .len(),
        1
    );
}
