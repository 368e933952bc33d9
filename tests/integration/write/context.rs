//! The context lands on the transaction, and nowhere else.

use std::net::Ipv6Addr;

use threadline_tests::execute;

use super::*;

#[test]
fn every_field_is_stored_with_the_transaction() {
    let db = notes_db();
    let mut app = db.app();
    execute(&mut app, "SET application_name = 'billing/3'");
    let context = full("42")
        .metadata("flags", json!({"dry_run": false, "tags": ["a", null, 1]}))
        .remote_address(Ipv6Addr::LOCALHOST);
    threadline::transaction(&mut app, &context, |conn| insert(conn, 1)).unwrap();

    let stored = transactions(&db);
    assert_eq!(
        stored,
        [Transaction {
            id: stored[0].id,
            source: Some("billing".into()),
            meta: Some(json!({
                "tenant": "acme",
                "flags": {"dry_run": false, "tags": ["a", null, 1]},
                "remote_address": "::1",
            })),
            actor_ref: Some(ActorRef::user(42).unwrap()),
            action_id: None,
            request_id: Some("req-7".into()),
            correlation_id: Some("checkout-19".into()),
            job_id: Some("8812".into()),
            session_user_name: "tl_app".into(),
            role_name: None,
            application_name: Some("billing/3".into()),
        }]
    );
}

#[test]
fn what_is_left_empty_is_null() {
    let db = notes_db();
    let context = AuditContext::unattributed().source("");
    threadline::transaction(&mut db.app(), &context, |conn| insert(conn, 1)).unwrap();

    let stored = &transactions(&db)[0];
    assert_eq!(stored.actor_ref, None);
    assert_eq!(stored.source, None);
    assert_eq!(stored.request_id, None);
    assert_eq!(stored.correlation_id, None);
    assert_eq!(stored.job_id, None);
    assert_eq!(stored.meta, None);
}

#[test]
fn any_text_arrives_as_it_was() {
    let db = notes_db();
    let odd = "ä'b\"c\\d $1 %s {} 😀";
    let actors = [
        ActorRef::service_account(odd).unwrap(),
        ActorRef::system("ü".repeat(255)).unwrap(),
        ActorRef::anonymous(),
    ];
    for (id, actor) in (1..).zip(&actors) {
        let context = AuditContext::new(actor.clone())
            .source(odd)
            .job_id("😀".repeat(255))
            .metadata(odd, odd);
        threadline::transaction(&mut db.app(), &context, |conn| insert(conn, id)).unwrap();
    }
    for (stored, actor) in transactions(&db).into_iter().zip(actors) {
        assert_eq!(stored.actor_ref, Some(actor));
        assert_eq!(stored.source.as_deref(), Some(odd));
        assert_eq!(stored.job_id, Some("😀".repeat(255)));
        assert_eq!(stored.meta, Some(json!({odd: odd})));
    }
}

#[test]
fn one_statement_sets_it() {
    let db = notes_db();
    let mut app = db.app();
    let seen = statements(&mut app);
    threadline::transaction(&mut app, &full("42"), |conn| insert(conn, 1)).unwrap();
    let seen: Vec<_> = seen.try_iter().collect();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert_eq!(seen[0], "BEGIN");
    assert!(seen[1].starts_with("SELECT set_config("), "{seen:?}");
    assert!(seen[2].starts_with("INSERT"), "{seen:?}");
    assert_eq!(seen[3], "COMMIT");
}

#[test]
fn nothing_is_left_in_force_however_it_ended() {
    let db = notes_db();
    let mut app = db.app();

    threadline::transaction(&mut app, &full("1"), |conn| {
        assert_eq!(settings(conn)[0], actor_json("1"));
        insert(conn, 1)
    })
    .unwrap();
    assert_eq!(settings(&mut app), UNSET, "after a commit");

    let refused = threadline::transaction(&mut app, &full("2"), |conn| {
        insert(conn, 2)?;
        Err::<(), _>(AppError::Refused)
    });
    assert!(matches!(refused, Err(AppError::Refused)));
    assert_eq!(settings(&mut app), UNSET, "after the application's error");

    let duplicate = threadline::transaction(&mut app, &full("3"), |conn| insert(conn, 1));
    assert!(matches!(duplicate, Err(Error::DatabaseError(..))));
    assert_eq!(settings(&mut app), UNSET, "after the database's error");

    insert(&mut app, 4).unwrap();
    assert_eq!(
        recorded(&db),
        [(1, Some("1".to_owned())), (4, None)],
        "what was rolled back left no trace, and no actor to the next"
    );
    assert_eq!(transactions(&db).len(), 2);
}

#[test]
fn an_outermost_transaction_inherits_nothing_from_the_session() {
    let db = notes_db();
    let mut app = db.app();
    execute(
        &mut app,
        r#"SET threadline.actor_ref = '{"type": "user", "id": "leaked"}'; SET threadline.source = 'leaked'"#,
    );
    threadline::transaction(&mut app, &AuditContext::unattributed(), |conn| {
        insert(conn, 1)
    })
    .unwrap();
    threadline::transaction(&mut app, &user(2), |conn| insert(conn, 2)).unwrap();
    // The control: the session's own setting does attribute what is written around us.
    insert(&mut app, 3).unwrap();

    let stored = transactions(&db);
    assert_eq!(stored[0].actor_ref, None);
    assert_eq!(stored[1].actor_ref, Some(ActorRef::user(2).unwrap()));
    assert_eq!(stored[1].source, None);
    assert_eq!(stored[2].actor_ref, Some(ActorRef::user("leaked").unwrap()));
}
