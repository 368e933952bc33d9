//! C19: excluded and masked columns.

use serde_json::{Value, json};
use threadline::capture::{CapturePlan, Placeholder, Policy, TableName, columns};
use threadline::{Definition, Snapshot, prelude::*};
use threadline_tests::{TestDb, execute, rows};

const RULES: Definition = Definition::new("Person", &["id"])
    .store_changed_from()
    .mask(&["ssn", "doc"])
    .exclude(&["password"]);

fn db() -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE people (id int PRIMARY KEY, name text, ssn text, doc json, password text)",
    );
    db.capture("people", RULES);
    db
}

fn changes(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT op, data_after, changed_fields, changed_from FROM audit_changes ORDER BY id",
    )
}

const INSERT: &str =
    r#"INSERT INTO people VALUES (1, 'Ann', '078-05-1120', '{"a": {"b": [1]}}', 'hunter2')"#;

#[test]
fn c19_insert_masks_and_excludes() {
    let db = db();
    execute(&mut db.app(), INSERT);
    assert_eq!(
        changes(&db),
        [
            json!({"op": "insert", "changed_fields": null, "changed_from": null,
            "data_after": {"id": 1, "name": "Ann", "ssn": "[REDACTED]", "doc": "[REDACTED]"}})
        ],
        "a json column is masked whole"
    );
}

#[test]
fn c19_null_stays_null() {
    let db = db();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO people (id) VALUES (1)");
    execute(&mut app, "UPDATE people SET ssn = 's', doc = '[]'");
    execute(&mut app, "UPDATE people SET ssn = NULL, doc = NULL");
    let all = changes(&db);
    let row = |ssn: Value| json!({"id": 1, "name": null, "ssn": ssn, "doc": ssn});
    let both = |v: Value| json!({"ssn": v, "doc": v});
    assert_eq!(all[0]["data_after"], row(json!(null)));
    assert_eq!(all[1]["data_after"], row(json!("[REDACTED]")));
    assert_eq!(all[1]["changed_from"], both(json!(null)));
    assert_eq!(all[2]["data_after"], row(json!(null)));
    assert_eq!(all[2]["changed_from"], both(json!("[REDACTED]")));
}

#[test]
fn c19_update_names_a_masked_column_and_no_excluded_one() {
    let db = db();
    let mut app = db.app();
    execute(&mut app, INSERT);
    execute(
        &mut app,
        "UPDATE people SET name = 'B', ssn = 's', doc = '1', password = 'p'",
    );
    let update = &changes(&db)[1];
    assert_eq!(update["changed_fields"], json!(["doc", "name", "ssn"]));
    assert_eq!(
        update["changed_from"],
        json!({"name": "Ann", "ssn": "[REDACTED]", "doc": "[REDACTED]"})
    );
    assert_eq!(
        update["data_after"],
        json!({"id": 1, "name": "B", "ssn": "[REDACTED]", "doc": "[REDACTED]"})
    );
    // A masked column alone is a change, an excluded one alone isn't.
    execute(&mut app, "UPDATE people SET ssn = 't'");
    execute(&mut app, "UPDATE people SET password = 'q'");
    let all = changes(&db);
    assert_eq!(all.len(), 3);
    assert_eq!(all[2]["changed_fields"], json!(["ssn"]));
}

#[test]
fn c19_delete_masks_and_excludes() {
    let db = db();
    execute(&mut db.app(), &format!("{INSERT}; DELETE FROM people"));
    assert_eq!(
        changes(&db)[1],
        json!({"op": "delete", "data_after": null, "changed_fields": null,
            "changed_from": {"id": 1, "name": "Ann", "ssn": "[REDACTED]", "doc": "[REDACTED]"}})
    );
}

#[test]
fn c19_both_halves_of_a_key_change_are_redacted() {
    let db = db();
    execute(
        &mut db.app(),
        &format!("{INSERT}; UPDATE people SET id = 2, ssn = 'other'"),
    );
    let row = |id: i32| json!({"id": id, "name": "Ann", "ssn": "[REDACTED]", "doc": "[REDACTED]"});
    let all = changes(&db);
    assert_eq!(
        all[1],
        json!({"op": "delete", "data_after": null, "changed_fields": null, "changed_from": row(1)})
    );
    assert_eq!(
        all[2],
        json!({"op": "insert", "data_after": row(2), "changed_fields": null, "changed_from": null})
    );
}

#[test]
fn c19_a_masked_json_that_jsonb_cannot_hold() {
    let db = db();
    execute(
        &mut db.app(),
        r#"INSERT INTO people (id, doc) VALUES (1, '"\u0000"'); UPDATE people SET name = 'x'"#,
    );
    let all = changes(&db);
    assert_eq!(all[0]["data_after"]["doc"], "[REDACTED]");
    assert_eq!(all[1]["changed_fields"], json!(["name"]));
}

#[test]
fn c19_any_placeholder_is_stored_as_it_is() {
    let db = TestDb::new();
    db.create("CREATE TABLE people (id int PRIMARY KEY, ssn text)");
    let table: TableName = "people".parse().unwrap();
    let mut app = db.app();
    for (id, text) in [
        r"it's",
        r#"say "no""#,
        r"C:\temp\'",
        "ⱥ…🔒 Ω",
        "{{ssn}} {} %s %1$I",
        ":name :mask :storage :redacted",
        "$$ $threadline$ $threadline_$ $bound$ $function$",
        "null",
        "$1 /* -- */ ; DROP TABLE people",
        "x",
        &"ä".repeat(200),
    ]
    .into_iter()
    .enumerate()
    {
        let policy = Policy {
            mask: columns(["ssn"]).unwrap(),
            placeholder: Placeholder::new(&table, text).unwrap(),
            ..Policy::default()
        };
        db.apply(&CapturePlan::for_table(table.clone(), policy).unwrap())
            .unwrap();
        execute(&mut app, &format!("INSERT INTO people VALUES ({id}, 's')"));
        assert_eq!(
            changes(&db).pop().unwrap()["data_after"],
            json!({"id": id, "ssn": text})
        );
    }
}

diesel::table! {
    people (id) { id -> Integer, name -> Nullable<Text>, ssn -> Nullable<Text>, password -> Nullable<Text>, plan -> Nullable<Text>, }
}

#[derive(Debug, Clone, PartialEq, diesel::Queryable, diesel::Selectable, Audited)]
#[diesel(table_name = people)]
struct Person {
    id: i32,
    name: Option<String>,
    ssn: Option<String>,
    password: Option<String>,
    plan: Option<String>,
}

/// A column's default must not pass for the value that is kept out.
#[test]
fn c19_a_redacted_value_is_not_read_as_the_columns_default() {
    use diesel::prelude::*;
    let db = db();
    db.create("ALTER TABLE people ADD COLUMN plan text DEFAULT 'gold'");
    db.capture("people", RULES.mask(&["ssn", "doc", "plan"]));
    execute(
        &mut db.app(),
        "INSERT INTO people (id, name, ssn, plan) VALUES (1, 'Ann', 's', 'lead')",
    );
    let history = Person::history(1).load(&mut db.auditor()).unwrap();
    let ann = Person {
        id: 1,
        name: Some("Ann".into()),
        ssn: None,
        password: None,
        plan: None,
    };
    assert_eq!(history[0].snapshot, Snapshot::After(ann));
    assert_eq!(history[0].redacted, ["password", "plan", "ssn"]);
}
