//! The log in a schema of its own.

use super::*;

#[test]
fn another_schema_holds_everything() {
    let db = TestDb::empty();
    execute(&mut db.owner(), ITEMS);
    let application = Application::new(&["--schema", "audit"]);
    application.run(&mut db.owner());

    let in_public =
        "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    let ours: Vec<_> = rows(&mut db.owner(), in_public)
        .into_iter()
        .filter(|row| !row["name"].as_str().unwrap().starts_with("__diesel"))
        .collect();
    assert_eq!(ours, [] as [Value; 0]);
    let functions = rows(
        &mut db.owner(),
        "SELECT p.oid::regprocedure::text AS name, prosrc ~ '\\mpublic\\M' OR pg_get_functiondef(p.oid) ~ '\\mpublic\\M' AS public
         FROM pg_proc p WHERE pronamespace = 'audit'::regnamespace",
    );
    assert!(functions.len() > 30, "{}", functions.len());
    for function in functions {
        assert_eq!(function["public"], Value::Bool(false), "{function}");
    }

    let mut app = db.app();
    let mut auditor = db.auditor();
    for conn in [&mut app, &mut auditor] {
        execute(conn, "SET search_path = public, audit");
    }
    let actor = ActorRef::user(7).unwrap();
    threadline::transaction(&mut app, &AuditContext::new(actor.clone()), |conn| {
        record_action(Action::new("item.added").require_changes())
            .get_result::<uuid::Uuid>(conn)?;
        diesel::insert_into(items::table)
            .values((items::id.eq(1), items::n.eq(1)))
            .execute(conn)
    })
    .unwrap();
    diesel::update(items::table)
        .set(items::n.eq(2))
        .execute(&mut app)
        .unwrap();

    let history = Item::history(1).load(&mut auditor).unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].op, Op::Update);
    assert_eq!(
        history[0]
            .changed_from
            .as_ref()
            .map(threadline::RecordedRow::to_value),
        Some(json!({"n": 1}))
    );
    assert_eq!(history[1].actor(), Some(&actor));
    assert_eq!(history[1].after(), Some(&Item { id: 1, n: 1 }));
    assert!(matches!(
        Item::as_of(1, diesel::dsl::now)
            .get_result(&mut auditor)
            .unwrap(),
        AsOf::Found {
            row: Item { n: 2, .. },
            ..
        }
    ));
    let linked = value(
        &mut auditor,
        "SELECT a.name FROM audit_transactions t JOIN audit_actions a ON a.id = t.action_id",
    );
    assert_eq!(linked, "item.added");

    // The application needs to find nothing of it to be captured.
    execute(&mut db.app(), "UPDATE shop.items SET n = 3");
    assert_eq!(Item::history(1).load(&mut auditor).unwrap().len(), 3);
}

#[test]
fn another_schema_is_rolled_back() {
    let db = TestDb::empty();
    execute(&mut db.owner(), ITEMS);
    let application = Application::new(&["--schema", "audit"]);
    let mut owner = db.owner();
    application.run(&mut owner);
    execute(&mut db.app(), "INSERT INTO shop.items VALUES (1, 1)");

    owner.revert_last_migration(application.source()).unwrap();
    let refusal = owner
        .revert_last_migration(application.source())
        .unwrap_err();
    assert!(
        refusal.to_string().contains("is not empty and stays"),
        "{refusal}"
    );
    application.run(&mut owner);
    execute(&mut db.app(), "UPDATE shop.items SET n = 2");
    assert_eq!(
        value(&mut owner, "SELECT count(*) FROM audit.audit_changes"),
        2
    );

    execute(&mut owner, "SET threadline.drop_log = 'yes'");
    owner.revert_all_migrations(application.source()).unwrap();
    // Somebody else may have made the schema, so it stays; it is empty, since this drops nothing with it.
    execute(&mut owner, "DROP SCHEMA audit");
    execute(&mut db.app(), "UPDATE shop.items SET n = 3");
}
