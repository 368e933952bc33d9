//! C40: a revert sees and writes what is in its scope, and nothing else.

use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline::{RevertError, Scope, StepKind};

use super::*;

/// Documents 1 of tenant a and 2 of tenant b. Parts refer to them.
fn tenants() -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE docs (id bigint PRIMARY KEY, tenant text NOT NULL, name text UNIQUE);
         CREATE TABLE parts (id bigint PRIMARY KEY, tenant text NOT NULL, doc_id bigint REFERENCES docs)",
    );
    for table in ["docs", "parts"] {
        db.capture(
            table,
            threadline::Definition::new("Model", &["id"]).store_changed_from(),
        );
    }
    execute(
        &mut db.app(),
        "INSERT INTO docs VALUES (1, 'a', 'one'), (2, 'b', 'two')",
    );
    db
}

fn tenant(name: &str) -> Scope {
    Scope::field("tenant", name)
}

fn plan_in(db: &TestDb, transaction: Uuid, scope: Scope) -> RevertPlan {
    revert_transaction_plan(transaction)
        .scope(scope)
        .get_result(&mut db.reverter())
        .unwrap()
}

/// The steps, each as what it does to which row.
fn steps(plan: &RevertPlan) -> Vec<(StepKind, String)> {
    let step = |step: &threadline::Step| (step.kind, format!("{} {:?}", step.table, step.key));
    plan.steps().iter().map(step).collect()
}

/// All that a plan holds, its subject aside.
fn contents(plan: &RevertPlan, transaction: Uuid) -> String {
    format!("{plan:?}").replace(&transaction.to_string(), "")
}

/// The plan is the one of a transaction that never was.
fn assert_nothing(db: &TestDb, transaction: Uuid, scope: &Scope) {
    let plan = plan_in(db, transaction, scope.clone());
    let none = plan_in(db, Uuid::from_u128(7), scope.clone());
    assert_eq!(
        contents(&plan, transaction),
        contents(&none, Uuid::from_u128(7))
    );
    let applied = plan
        .scope(scope.clone())
        .apply(&mut db.reverter(), &context());
    assert!(matches!(applied, Err(RevertError::Nothing)), "{applied:?}");
}

#[test]
fn rows_out_of_scope_are_no_part_of_it() {
    let db = tenants();
    let transaction = work(&db, "UPDATE docs SET name = name || '!'");
    let plan = plan_in(&db, transaction, tenant("a"));
    assert_eq!(
        steps(&plan),
        [(StepKind::Update, r#"public.docs {"id": "1"}"#.to_owned())]
    );
    assert!(!format!("{plan:?}").contains("two"), "{plan:?}");

    let unnamed = plan.apply(&mut db.reverter(), &context());
    assert!(
        matches!(unnamed, Err(RevertError::NeedsScope)),
        "{unnamed:?}"
    );
    let wider = plan
        .clone()
        .scope(Scope::unscoped())
        .apply(&mut db.reverter(), &context());
    assert!(matches!(wider, Err(RevertError::Stale)), "{wider:?}");
    let applied = plan
        .scope(tenant("a"))
        .apply(&mut db.reverter(), &context());
    assert_eq!(applied.unwrap().rows, 1);
    assert_eq!(
        state(&db, &["docs"]),
        [
            serde_json::json!({"of": "docs", "row": "(1,a,one)"}),
            serde_json::json!({"of": "docs", "row": "(2,b,two!)"})
        ]
    );
}

/// The row is in scope, as its newest change is, but not the change that is to be reverted.
#[test]
fn changes_out_of_scope_are_no_part_of_it() {
    let db = tenants();
    let update = |actor: &str| {
        let context = context().metadata("tenant", actor);
        threadline::transaction(&mut db.app(), &context, |app| {
            diesel::sql_query(format!("UPDATE docs SET name = '{actor}' WHERE id = 1")).execute(app)
        })
        .unwrap();
        newest_transaction(&db)
    };
    let (others, own) = (update("b"), update("a"));
    let scope = || Scope::metadata("tenant", "a");
    assert_nothing(&db, others, &scope());
    assert_nothing(&db, own, &scope().and(tenant("b")));
    assert_eq!(plan_in(&db, own, scope()).steps().len(), 1);
}

#[tokio::test]
async fn asynchronously() {
    let db = tenants();
    let transaction = work(&db, "UPDATE docs SET name = name || '!'");
    let mut conn = AsyncPgConnection::establish(&db.url("tl_reverter"))
        .await
        .unwrap();
    let query = revert_transaction_plan(transaction).scope(tenant("b"));
    let plan: RevertPlan = diesel_async::RunQueryDsl::get_result(query, &mut conn)
        .await
        .unwrap();
    assert_eq!(plan.steps().len(), 1);
    let applied = plan
        .scope(tenant("b"))
        .apply_async(&mut conn, &context())
        .await;
    assert_eq!(applied.unwrap().rows, 1);
    assert_eq!(
        value(&mut db.owner(), "SELECT name FROM docs WHERE id = 2"),
        "two"
    );
}

#[test]
fn a_transaction_out_of_scope_is_one_that_never_was() {
    let db = tenants();
    let transaction = work(&db, "DELETE FROM docs WHERE id = 2");
    assert_nothing(&db, transaction, &tenant("a"));
    assert_nothing(&db, transaction, &tenant("nobody"));
    assert_nothing(&db, transaction, &Scope::metadata("tenant", "b"));
    // Row level security would make the attempt to look at the row an error.
    let transaction = work(&db, "UPDATE docs SET name = 'x' WHERE id = 1");
    execute(
        &mut db.owner(),
        "ALTER TABLE docs ENABLE ROW LEVEL SECURITY",
    );
    assert_nothing(&db, transaction, &tenant("b"));
}

#[test]
fn rows_that_left_the_scope_since_are_no_part_of_it() {
    let db = tenants();
    let transaction = work(&db, "INSERT INTO docs VALUES (3, 'a', 'three')");
    assert_eq!(plan_in(&db, transaction, tenant("a")).steps().len(), 1);
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica; UPDATE docs SET tenant = 'b' WHERE id = 3",
    );
    assert_nothing(&db, transaction, &tenant("a"));
}

/// It would be taken from one tenant, or be given to another.
#[test]
fn a_row_that_was_moved_is_nobodys_to_move_back() {
    let db = tenants();
    let moved = work(&db, "UPDATE docs SET tenant = 'b' WHERE id = 1");
    assert_nothing(&db, moved, &tenant("a"));
    assert_nothing(&db, moved, &tenant("b"));
    assert_eq!(plan_in(&db, moved, Scope::unscoped()).steps().len(), 1);
}

/// That the row is there, or gone, is the other tenant's.
#[test]
fn a_key_that_another_tenant_used_since() {
    let db = tenants();
    let transaction = work(&db, "UPDATE docs SET name = 'x' WHERE id = 1");
    execute(
        &mut db.app(),
        "DELETE FROM docs WHERE id = 1; INSERT INTO docs VALUES (1, 'b', 'other'); DELETE FROM docs WHERE id = 1",
    );
    assert_eq!(
        kinds(&plan(&db, transaction)),
        [("public.docs", r#""1""#.into(), &ConflictKind::Gone)]
    );
    assert_nothing(&db, transaction, &tenant("a"));
}

#[test]
fn keys_of_rows_in_the_way_are_not_told() {
    let db = tenants();
    let deleted = work(&db, "DELETE FROM docs WHERE id = 1");
    let transaction = work(&db, "INSERT INTO docs VALUES (3, 'a', 'three')");
    execute(
        &mut db.app(),
        "INSERT INTO docs VALUES (4711, 'b', 'one'); INSERT INTO parts VALUES (4712, 'b', 3)",
    );
    let taken = plan_in(&db, deleted, tenant("a"));
    assert_eq!(
        taken.conflicts()[0].to_string(),
        r#"public.docs id = "1": the key docs_name_key (name) is taken by another row"#
    );
    let referred = plan_in(&db, transaction, tenant("a"));
    assert_eq!(
        referred.conflicts()[0].to_string(),
        r#"public.docs id = "3": 1 later rows of parts refer to it by parts_doc_id_fkey (doc_id)"#
    );
    for (transaction, secret) in [(deleted, "4711"), (transaction, "4712")] {
        let seen = format!("{:?}", plan_in(&db, transaction, tenant("a")));
        assert!(!seen.contains(secret), "{seen}");
        let seen = format!("{:?}", plan_in(&db, transaction, Scope::unscoped()));
        assert!(seen.contains(secret), "{seen}");
    }
}

#[test]
fn a_plan_of_everything_where_a_scope_is_asked_for() {
    let db = tenants();
    let transaction = work(&db, "UPDATE docs SET name = name || '!'");
    let database = db.name();
    execute(
        &mut db.superuser(),
        &format!("ALTER DATABASE {database} SET threadline.require_scope = on"),
    );
    let unsaid = revert_transaction_plan(transaction).get_result(&mut db.reverter());
    assert_eq!(
        unsaid.unwrap_err().to_string(),
        "threadline: this read needs a scope, and has none"
    );
    let plan = revert_transaction_plan(transaction)
        .unscoped()
        .get_result(&mut db.reverter())
        .unwrap();
    let applied = plan.apply(&mut db.reverter(), &context());
    assert_eq!(applied.unwrap().rows, 2);
}

/// Rows that the plan writes itself are no obstacles.
#[test]
fn a_family_in_scope_is_undone_together() {
    let db = tenants();
    let transaction = work(
        &db,
        "DO $$ BEGIN UPDATE docs SET name = 'spare' WHERE id = 1; INSERT INTO docs VALUES (3, 'a', 'one');
           INSERT INTO parts VALUES (1, 'a', 3); END $$",
    );
    let plan = plan_in(&db, transaction, tenant("a"));
    assert_eq!(plan.conflicts(), []);
    let applied = plan
        .scope(tenant("a"))
        .apply(&mut db.reverter(), &context());
    assert_eq!(applied.unwrap().rows, 3);
    assert_eq!(
        rows(
            &mut db.owner(),
            "SELECT name FROM docs UNION ALL SELECT 'part' FROM parts ORDER BY 1"
        ),
        [
            serde_json::json!({"name": "one"}),
            serde_json::json!({"name": "two"})
        ]
    );
}

#[test]
fn a_truncate_is_in_no_scope_of_a_field() {
    let db = TestDb::new();
    db.create("CREATE TABLE docs (id bigint PRIMARY KEY, tenant text)");
    execute(&mut db.app(), "INSERT INTO docs VALUES (1, 'a')");
    db.capture("docs", threadline::Definition::new("Model", &["id"]));
    execute(&mut db.app(), "INSERT INTO docs VALUES (2, 'a')");
    let transaction = work(&db, "TRUNCATE docs");
    assert_nothing(&db, transaction, &tenant("a"));
    let whole = Scope::matching(threadline::schema::audit_changes::table_name.eq("docs"));
    let plan = plan_in(&db, transaction, whole);
    assert_eq!(
        kinds(&plan),
        [("public.docs", String::new(), &ConflictKind::Truncated)]
    );
    assert_eq!(plan.steps().len(), 1);
}
