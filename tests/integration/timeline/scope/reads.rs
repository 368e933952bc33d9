//! What is seen in a scope.

use super::*;

#[test]
fn a_field_has_its_value_before_or_after() {
    let Tenants { db, .. } = tenants();
    assert_eq!(
        seen(&db, tenant("a")),
        [
            "items insert 1",
            "items update 1",
            "items delete 1",
            "items insert 3",
            "items update 3"
        ]
    );
    assert_eq!(seen(&db, tenant("b")), ["items insert 2", "items update 3"]);
    assert_eq!(seen(&db, tenant("c")), [""; 0]);
    assert_eq!(seen(&db, Scope::field("no such column", 1)), [""; 0]);
    assert_eq!(seen(&db, Scope::unscoped()).len(), 7);
}

#[test]
fn a_truncate_and_what_is_redacted_are_in_no_scope() {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, tenant text)");
    db.capture(
        "items",
        threadline::Definition::new("Item", &["id"]).mask(&["tenant"]),
    );
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'); TRUNCATE items",
    );
    assert_eq!(seen(&db, tenant("a")), [""; 0]);
}

#[test]
fn other_scopes() {
    use threadline::schema::audit_changes::{op, table_name};

    let Tenants { db, .. } = tenants();
    assert_eq!(
        seen(&db, Scope::metadata("tenant", "b")),
        ["items insert 2", "plain insert 1"]
    );
    let plain = Scope::matching(table_name.eq("plain"));
    assert_eq!(seen(&db, plain.clone()), ["plain insert 1"]);
    assert_eq!(seen(&db, plain.and(tenant("b"))), [""; 0]);
    let inserts = Scope::matching(op.eq(Op::Insert)).and(tenant("b"));
    assert_eq!(seen(&db, inserts), ["items insert 2"]);
    assert_eq!(seen(&db, Scope::unscoped().and(tenant("b"))).len(), 2);
}

/// What is out of scope is what doesn't exist: the same answers, for what is another tenant's and for what is nobody's.
#[test]
fn out_of_scope_is_indistinguishable_from_nothing() {
    let Tenants { db, a, b } = secured();
    let mut conn = db.auditor();
    let none = Uuid::from_u128(7);
    let not_found = diesel::NotFound;
    for id in [b, none] {
        assert_eq!(
            incident_bundle(id)
                .scope(tenant("a"))
                .get_result(&mut conn)
                .unwrap_err(),
            not_found
        );
        assert_eq!(
            transaction_context(id)
                .scope(tenant("a"))
                .get_result(&mut conn)
                .unwrap_err(),
            not_found
        );
        let changes = audit_changes_for_transaction(id).scope(tenant("a"));
        assert_eq!(changes.get_result(&mut conn).unwrap_err(), not_found);
    }
    for id in ["c-b", "c-nobody"] {
        let bundle = correlation_bundle(id)
            .scope(tenant("a"))
            .get_result(&mut conn);
        assert_eq!(bundle.unwrap_err(), not_found);
    }
    for actor in ["b", "nobody"] {
        let actor = ActorRef::user(actor).unwrap();
        let list = actor_timeline(actor.clone())
            .scope(tenant("a"))
            .get_result(&mut conn)
            .unwrap();
        assert_eq!(list.entries, []);
        let list = actor_history(actor)
            .scope(tenant("a"))
            .get_result(&mut conn)
            .unwrap();
        assert_eq!(list.entries, []);
    }
    let after = chrono::Utc::now();
    let before = "2020-01-01T00:00:00Z"
        .parse::<chrono::DateTime<chrono::Utc>>()
        .unwrap();
    for id in [2, 99] {
        assert_eq!(
            Item::scoped(tenant("a"))
                .history(id)
                .load(&mut conn)
                .unwrap(),
            []
        );
        assert_eq!(
            Item::scoped(tenant("a"))
                .changes_of(id)
                .count()
                .get_result(&mut conn),
            Ok(0_i64)
        );
        assert_eq!(
            Item::scoped(tenant("a"))
                .as_of(id, after)
                .get_result(&mut conn)
                .unwrap(),
            AsOf::NotYetCreated
        );
        assert_eq!(
            Item::scoped(tenant("a"))
                .as_of(id, before)
                .get_result(&mut conn)
                .unwrap(),
            AsOf::Unknown
        );
    }
    let answers = Item::scoped(tenant("a"))
        .as_of_many([2, 99], after)
        .load(&mut conn);
    assert_eq!(answers.unwrap(), [AsOf::NotYetCreated, AsOf::NotYetCreated]);
    // And what is in scope is found.
    let bundle = incident_bundle(a)
        .scope(tenant("a"))
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(bundle.changes.len(), 2);
    let mixed = incident_bundle(b)
        .scope(tenant("b"))
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(mixed.changes.len(), 1, "the other table has no tenant");
    let actions = correlation_bundle("c-a")
        .scope(tenant("a"))
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(
        (actions.actions.len(), actions.changes.entries.len()),
        (2, 4)
    );
    let history = actor_history(ActorRef::user("b").unwrap())
        .scope(tenant("b"))
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(history.entries[0].counts.len(), 1);
}

#[test]
fn a_diff_in_a_scope() {
    let Tenants { db, .. } = secured();
    let mut conn = db.auditor();
    let changes = Item::unscoped().changes().load(&mut conn).unwrap();
    let of = |column: &str| {
        let updated = Some(vec![column.to_owned()]);
        let mut updates = changes.iter().filter(|change| change.op == Op::Update);
        updates
            .find(|change| change.changed_fields == updated)
            .unwrap()
            .id
    };
    let mut seen = |id: i64, scope: Scope| diff_with_history(id).scope(scope).get_result(&mut conn);
    let update = seen(of("name"), tenant("a")).unwrap();
    assert_eq!(
        update.earlier.unwrap()["tenant"].as_str().as_deref(),
        Some("a"),
        "with what was before"
    );
    for id in [of("name"), -1] {
        assert_eq!(seen(id, tenant("b")).unwrap_err(), diesel::NotFound);
    }
    for scope in [tenant("a"), tenant("b"), Scope::unscoped()] {
        assert_eq!(seen(of("tenant"), scope).unwrap().id, of("tenant"));
    }
}

#[test]
fn typed_reads_in_a_scope() {
    let Tenants { db, .. } = secured();
    let mut conn = db.auditor();
    let a = || Item::scoped(tenant("a"));
    assert_eq!(a().history(1).load(&mut conn).unwrap().len(), 3);
    assert_eq!(a().changes().load(&mut conn).unwrap().len(), 5);
    assert_eq!(Item::unscoped().changes().load(&mut conn).unwrap().len(), 6);
    let boxed = a()
        .history(1)
        .into_boxed()
        .filter(threadline::change::op.eq(Op::Insert));
    assert_eq!(boxed.load(&mut conn).unwrap().len(), 1);
    let now = diesel::dsl::now;
    assert!(matches!(
        a().as_of(1, now).get_result(&mut conn).unwrap(),
        AsOf::Deleted(_)
    ));
    // Moved away: b has it now, and a has it no more.
    assert_eq!(
        a().as_of(3, now).get_result(&mut conn).unwrap(),
        AsOf::NotYetCreated
    );
    let b = Item::scoped(tenant("b"))
        .as_of(3, now)
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(b.into_row().unwrap().tenant, "b");
    let scopes = [tenant("a"), tenant("b"), Scope::unscoped()];
    for scope in scopes {
        let reads = Item::scoped(scope);
        let many = reads.clone().as_of_many([1, 2, 3], now).load(&mut conn);
        let alone = [1, 2, 3].map(|id| reads.clone().as_of(id, now).get_result(&mut conn).unwrap());
        assert_eq!(many.unwrap(), alone);
    }
    assert!(
        Item::unscoped()
            .as_of(3, now)
            .get_result(&mut conn)
            .unwrap()
            .into_row()
            .is_some()
    );
    execute(&mut db.app(), "SELECT 1");
    execute(&mut db.owner(), "TRUNCATE items");
    let b = Item::scoped(tenant("b"))
        .as_of(3, now)
        .get_result(&mut conn)
        .unwrap();
    assert!(matches!(b, AsOf::Deleted(_)), "{b:?}");
    assert_eq!(
        a().as_of(3, now).get_result(&mut conn).unwrap(),
        AsOf::NotYetCreated
    );
}
