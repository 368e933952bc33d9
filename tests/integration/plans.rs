//! The SQL of capture plans, as reviewers read it, and each of them run against a server: installed, installed again,
//! written through, and ended.

use threadline::capture::{CapturePlan, Policy, Storage, columns};
use threadline::{Definition, RequireActor};
use threadline_tests::{TestDb, execute, rows};

const CREATE: &str = "CREATE TABLE people (id bigint NOT NULL, team integer NOT NULL, name text, ssn text, secret text,
    seen timestamptz, PRIMARY KEY (id), UNIQUE (team, id))";

fn by_model(definition: Definition) -> CapturePlan {
    CapturePlan::for_definition("people".parse().unwrap(), &definition).unwrap()
}

#[test]
fn bare() {
    check("bare", &by_model(Definition::new("Person", &["id"])));
}

#[test]
fn everything() {
    let definition = Definition::new("Person", &["team", "id"])
        .store_changed_from()
        .exclude(&["secret"])
        .mask(&["ssn"])
        .mask_placeholder("it's \\ hidden")
        .except_columns(&["seen"])
        .ignore_only(&["name"])
        .require_actor(RequireActor::Known)
        .formerly(&["humans"])
        .columns_formerly(&[("name", "full_name")]);
    check("everything", &by_model(definition));
}

#[test]
fn any_actor() {
    let definition = Definition::new("Person", &["id"]).require_actor(RequireActor::Any);
    check("any_actor", &by_model(definition));
}

#[test]
fn by_name() {
    let policy = Policy {
        mask: columns(["ssn", "secret"]).unwrap(),
        store_changed_from: true,
        ..Policy::default()
    };
    let plan = CapturePlan::for_table("public.people".parse().unwrap(), policy).unwrap();
    check("by_name", &plan);
}

fn check(name: &str, plan: &CapturePlan) {
    let storage = Storage::default();
    let (up, down) = (plan.up_sql(&storage), plan.down_sql(&storage));
    insta::assert_snapshot!(name, format!("{up}\n-- down\n{down}"));

    let db = TestDb::new();
    db.create(CREATE);
    let mut owner = db.owner();
    execute(&mut owner, &up);
    execute(&mut owner, &up);
    execute(
        &mut db.app(),
        r#"SELECT set_config('threadline.actor_ref', '{"type": "job", "id": "1"}', true);
           INSERT INTO people VALUES (1, 2, 'n', 's', 'x'); UPDATE people SET seen = now(), name = 'm'; DELETE FROM people"#,
    );
    let mut auditor = db.auditor();
    let ops = rows(&mut auditor, "SELECT op FROM audit_changes ORDER BY id");
    let ops: Vec<_> = ops.iter().map(|row| row["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["insert", "update", "delete"]);

    execute(&mut owner, &down);
    execute(&mut owner, &down);
    execute(&mut db.app(), "INSERT INTO people VALUES (3, 2)");
    assert_eq!(rows(&mut auditor, "SELECT FROM audit_changes").len(), 3);
    let left =
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'people'::regclass AND NOT tgisinternal
        UNION ALL SELECT proname FROM pg_proc WHERE proname ~ '^threadline_capture_[0-9]+$'";
    assert_eq!(rows(&mut auditor, left), Vec::<serde_json::Value>::new());
}
