//! What an investigation asks of one transaction, or of everything that shares an id.

use diesel::prelude::*;
use threadline::{ActorRef, AuditContext};
use threadline_tests::{TestDb, execute};
use uuid::Uuid;

fn one_transaction() -> (TestDb, Uuid) {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text)",
    );
    let context = AuditContext::new(ActorRef::job("nightly").unwrap()).correlation_id("c-1");
    let id = threadline::transaction(&mut db.app(), &context, |app| {
        diesel::sql_query("INSERT INTO items VALUES (1, 'a')").execute(app)?;
        diesel::sql_query("UPDATE items SET name = 'b'").execute(app)?;
        threadline::record_action(threadline::Action::new("item.made")).execute(app)?;
        threadline::transaction_id().get_result::<Option<Uuid>>(app)
    });
    (db, id.unwrap().unwrap())
}

#[test]
fn a_bundle() {
    let (db, id) = one_transaction();
    let mut conn = db.auditor();
    let bundle = threadline::incident_bundle(id)
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(bundle.changes.len(), 2);
    assert_eq!(bundle.context.actions[0].name, "item.made");
    let context = threadline::transaction_context(id)
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(context, bundle.context);
    let page = threadline::audit_changes_for_transaction(id)
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(page.entries, bundle.changes);
    let correlated = threadline::correlation_bundle("c-1")
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(correlated.changes.entries, bundle.changes);
    let history = threadline::actor_history(ActorRef::job("nightly").unwrap())
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(
        Some(&history.entries[0].transaction),
        context.transaction.as_ref()
    );
    execute(&mut conn, "SELECT 1");
}

#[test]
fn what_is_unknown_is_not_found() {
    let (db, _) = one_transaction();
    let mut conn = db.auditor();
    for id in ["", "no uuid", "a\0", "00000000-0000-0000-0000-000000000123"] {
        let found = threadline::incident_bundle(id).get_result(&mut conn);
        assert_eq!(found.unwrap_err(), diesel::NotFound, "{id}");
    }
}
