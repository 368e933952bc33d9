//! C40: what a read may see, and that one which must say so does.

use threadline::{
    ActorRef, AsOf, AuditContext, Op, Scope, actor_history, actor_timeline, as_of_raw,
    audit_changes_for_transaction, correlation_bundle, diff_with_history, incident_bundle,
    prelude::*, revert_transaction_plan, transaction_context,
};
use uuid::Uuid;

use super::*;

diesel::table! { items (id) { id -> BigInt, tenant -> Text, name -> Nullable<Text>, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
struct Item {
    id: i64,
    tenant: String,
    name: Option<String>,
}

struct Tenants {
    db: TestDb,
    a: Uuid,
    b: Uuid,
}

/// Item 1 of tenant a and item 2 of tenant b, each inserted by their user and updated; item 1 is deleted, item 3 moved from
/// a to b. The values before aren't kept. `plain` is a table without tenants.
fn tenants() -> Tenants {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, tenant text NOT NULL, name text);
         CREATE TABLE plain (id bigint PRIMARY KEY)",
    );
    for plan in threadline::models![Item].plans().unwrap() {
        db.apply(&plan).unwrap();
    }
    db.capture("plain", threadline::Definition::new("Plain", &["id"]));
    let mut app = db.app();
    let mut write = |actor: &str, sql: &str| {
        let context = AuditContext::new(ActorRef::user(actor).unwrap())
            .correlation_id(format!("c-{actor}"))
            .metadata("tenant", actor);
        threadline::transaction(&mut app, &context, |app| {
            for sql in sql.split(';') {
                diesel::sql_query(sql).execute(app)?;
            }
            threadline::record_action(threadline::Action::new("item.written")).execute(app)?;
            threadline::transaction_id().get_result::<Option<Uuid>>(app)
        })
        .unwrap()
        .unwrap()
    };
    let a = write(
        "a",
        "INSERT INTO items VALUES (1, 'a');UPDATE items SET name = 'n'",
    );
    let b = write(
        "b",
        "INSERT INTO items VALUES (2, 'b');INSERT INTO plain VALUES (1)",
    );
    write(
        "a",
        "DELETE FROM items WHERE id = 1;INSERT INTO items VALUES (3, 'a')",
    );
    write("move", "UPDATE items SET tenant = 'b' WHERE id = 3");
    Tenants { db, a, b }
}

fn secured() -> Tenants {
    let tenants = tenants();
    execute(
        &mut tenants.db.owner(),
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY",
    );
    tenants
}

fn tenant(name: &str) -> Scope {
    Scope::field("tenant", name)
}

fn seen(db: &TestDb, scope: Scope) -> Vec<String> {
    let list = timeline(TimelineFilter::new()).oldest_first().scope(scope);
    let page = list.get_result(&mut db.auditor()).unwrap();
    let line = |change: &AuditChange| {
        format!(
            "{} {} {}",
            change.table_name,
            change.op,
            change.key["id"].as_str().unwrap()
        )
    };
    page.entries.iter().map(line).collect()
}

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

fn refused<T: std::fmt::Debug>(answer: QueryResult<T>) -> String {
    answer.unwrap_err().to_string()
}

/// Every entry point, without a scope.
fn refusals(db: &TestDb, id: Uuid) -> Vec<String> {
    let conn = &mut db.auditor();
    let actor = || ActorRef::user("a").unwrap();
    let now = diesel::dsl::now;
    let change = Item::unscoped().changes().first(conn).unwrap();
    vec![
        refused(timeline(TimelineFilter::new()).get_result(conn)),
        refused(timeline(TimelineFilter::new().table("items")).get_result(conn)),
        refused(timeline(TimelineFilter::new().schema("public")).get_result(conn)),
        refused(actor_timeline(actor()).get_result(conn)),
        refused(actor_history(actor()).get_result(conn)),
        refused(correlation_bundle("c-a").get_result(conn)),
        refused(correlation_bundle("c-nobody").get_result(conn)),
        refused(incident_bundle(id).get_result(conn)),
        refused(incident_bundle("no id").get_result(conn)),
        refused(transaction_context(id).get_result(conn)),
        refused(audit_changes_for_transaction(id).get_result(conn)),
        refused(Item::history(1).load(conn)),
        refused(Item::history(99).load(conn)),
        refused(Item::changes().load(conn)),
        refused(Item::changes_of(1).count().get_result::<i64>(conn)),
        refused(Item::as_of(1, now).get_result(conn)),
        refused(Item::as_of(99, now).get_result(conn)),
        refused(Item::as_of_many([1, 99], now).load(conn)),
        refused(diff_with_history(change.id).get_result(conn)),
        refused(diff_with_history(-1).get_result(conn)),
        refused(revert_transaction_plan(id).get_result(conn)),
        refused(revert_transaction_plan(Uuid::nil()).get_result(conn)),
        refused(change.revert_plan().get_result(conn)),
    ]
}

/// Every query as of a moment, which has its own filters: without saying that they are meant to do, and with.
fn moments(db: &TestDb) -> (Vec<String>, Vec<i64>) {
    let conn = &mut db.auditor();
    let now = diesel::dsl::now;
    let ids = || items::table.select(items::id).order(items::id);
    let joined = || {
        let other = diesel::alias!(items as other);
        ids().inner_join(other.on(other.field(items::id).eq(items::id)))
    };
    let text = || diesel::sql_query("SELECT id, tenant, name FROM items ORDER BY id");
    let refused = vec![
        refused(ids().as_of(now).load::<i64>(conn)),
        refused(ids().filter(items::id.eq(99)).as_of(now).load::<i64>(conn)),
        refused(joined().as_of(now).load::<i64>(conn)),
        refused(Item::all_as_of(now).load(conn)),
        refused(as_of_raw(text(), now).load::<Named>(conn)),
    ];
    let shown = [
        ids().as_of(now).unscoped().load::<i64>(conn).unwrap(),
        joined().as_of(now).unscoped().load(conn).unwrap(),
        Item::all_as_of(now)
            .unscoped()
            .filter(items::tenant.eq("b"))
            .select(items::id)
            .load(conn)
            .unwrap(),
        as_of_raw(text(), now)
            .unscoped()
            .load(conn)
            .unwrap()
            .iter()
            .map(|row: &Named| row.id)
            .collect(),
    ];
    (refused, shown.concat())
}

#[derive(Debug, QueryableByName)]
#[diesel(table_name = items)]
struct Named {
    id: i64,
}

#[test]
fn queries_as_of_a_moment_ask_for_a_word() {
    let Tenants { db, .. } = tenants();
    let plain = items::table
        .count()
        .as_of(diesel::dsl::now)
        .get_result::<i64>(&mut db.auditor());
    assert_eq!(plain, Ok(2));
    execute(
        &mut db.owner(),
        "ALTER TABLE items ENABLE ROW LEVEL SECURITY",
    );
    let (refused, shown) = moments(&db);
    for refused in refused {
        assert_eq!(
            refused,
            "threadline: table items is under row level security, whose policies don't apply to its history, \
             which this query as of a moment reads\nFilter the query by what may be seen, and say so: .unscoped()."
        );
    }
    assert_eq!(shown, [2, 3].repeat(4));
    let database = db.name();
    execute(
        &mut db.superuser(),
        &format!(
            "ALTER TABLE items DISABLE ROW LEVEL SECURITY; ALTER DATABASE {database} SET threadline.require_scope = on"
        ),
    );
    let (refused, shown) = moments(&db);
    for refused in refused {
        assert_eq!(
            refused,
            "threadline: this query as of a moment reads the history of items and has no scope, for which the setting \
             threadline.require_scope asks\nFilter the query by what may be seen, and say so: .unscoped()."
        );
    }
    assert_eq!(shown, [2, 3].repeat(4));
}

#[test]
fn a_table_under_row_level_security_asks_for_a_scope() {
    let Tenants { db, a, .. } = secured();
    for refused in refusals(&db, a) {
        assert_eq!(
            refused,
            "threadline: table public.items is under row level security, and this read of its history has no scope"
        );
    }
    // Another table doesn't.
    let plain = timeline(TimelineFilter::new().table("plain")).get_result(&mut db.auditor());
    assert_eq!(plain.unwrap().entries.len(), 1);
    let all = timeline(TimelineFilter::new())
        .unscoped()
        .get_result(&mut db.auditor());
    assert_eq!(all.unwrap().entries.len(), 7);
}

#[test]
fn the_setting_asks_for_a_scope_everywhere() {
    let Tenants { db, a, .. } = tenants();
    let database = db.name();
    execute(
        &mut db.superuser(),
        &format!("ALTER DATABASE {database} SET threadline.require_scope = on"),
    );
    for refused in refusals(&db, a) {
        assert_eq!(refused, "threadline: this read needs a scope, and has none");
    }
    assert_eq!(seen(&db, tenant("b")).len(), 2);
    assert_eq!(
        Item::unscoped()
            .history(1)
            .load(&mut db.auditor())
            .unwrap()
            .len(),
        3
    );
    execute(
        &mut db.superuser(),
        &format!("ALTER DATABASE {database} SET threadline.require_scope = off"),
    );
    assert_eq!(Item::history(1).load(&mut db.auditor()).unwrap().len(), 3);
}
