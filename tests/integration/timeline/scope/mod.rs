//! C40: what a read may see, and that one which must say so does.

mod reads;
mod required;

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
