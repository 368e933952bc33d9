//! Reads that must have a scope, or say that they need none.

use super::*;

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
        refused(timeline(TimelineFilter::new().changed_field("nmae")).get_result(conn)),
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
