//! C22: the rules of one table never touch another's.

use serde_json::{Value, json};
use threadline::Definition;
use threadline::capture::{CapturePlan, Storage};
use threadline_tests::{TestDb, execute, rows, value};

fn changes(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT table_schema AS s, table_name AS t, data_after FROM audit_changes ORDER BY id",
    )
}

fn release(db: &TestDb, table: &str) {
    let plan =
        CapturePlan::for_definition(table.parse().unwrap(), &Definition::new("Model", &["id"]))
            .unwrap();
    execute(&mut db.owner(), &plan.down_sql(&Storage::default()));
}

#[test]
fn c22_the_same_name_in_two_schemas() {
    let db = TestDb::new();
    db.create(
        "CREATE SCHEMA billing; CREATE SCHEMA \"Sales\";
         CREATE TABLE billing.users (id int PRIMARY KEY, ssn text, note text);
         CREATE TABLE \"Sales\".users (id int PRIMARY KEY, ssn text, note text);
         CREATE TABLE users (id int PRIMARY KEY, ssn text, note text)",
    );
    let rules = Definition::new("User", &["id"]);
    db.capture("billing.users", rules.mask(&["ssn"]).mask_placeholder("B"));
    db.capture("\"Sales\".users", rules.exclude(&["note"]));
    db.capture("users", rules.mask(&["note"]));
    let mut app = db.app();
    let write = "INSERT INTO billing.users VALUES (1, 's', 'n'); INSERT INTO \"Sales\".users VALUES (1, 's', 'n');
                 INSERT INTO users VALUES (1, 's', 'n')";
    execute(&mut app, write);
    let billing =
        json!({"s": "billing", "t": "users", "data_after": {"id": 1, "ssn": "B", "note": "n"}});
    let sales = json!({"s": "Sales", "t": "users", "data_after": {"id": 1, "ssn": "s"}});
    let public = json!({"s": "public", "t": "users", "data_after": {"id": 1, "ssn": "s", "note": "[REDACTED]"}});
    assert_eq!(
        changes(&db),
        [billing.clone(), sales.clone(), public.clone()]
    );
    assert_eq!(
        value(
            &mut db.auditor(),
            "SELECT count(*) FROM threadline_history('billing.users', '{\"id\": 1}')"
        ),
        json!(1)
    );

    // Rolling one of them back, and changing another one's rules.
    execute(
        &mut app,
        "DELETE FROM billing.users; DELETE FROM \"Sales\".users; DELETE FROM users",
    );
    release(&db, "billing.users");
    db.capture("users", rules.mask(&["note", "ssn"]));
    let before = changes(&db).len();
    execute(&mut app, write);
    let mut redacted = public;
    redacted["data_after"]["ssn"] = json!("[REDACTED]");
    assert_eq!(changes(&db)[before..], [sales, redacted]);
}

#[test]
fn c22_long_names_that_differ_in_the_last_byte() {
    let db = TestDb::new();
    let (one, two) = (
        format!("{}1", "t".repeat(62)),
        format!("{}2", "t".repeat(62)),
    );
    db.create(&format!(
        "CREATE TABLE {one} (id int PRIMARY KEY, ssn text); CREATE TABLE {two} (id int PRIMARY KEY, ssn text)"
    ));
    let rules = Definition::new("Model", &["id"]);
    db.capture(&one, rules.mask(&["ssn"]));
    db.capture(&two, rules.exclude(&["ssn"]));
    let write = |id: i32| {
        execute(
            &mut db.app(),
            &format!("INSERT INTO {one} VALUES ({id}, 's'); INSERT INTO {two} VALUES ({id}, 's')"),
        );
    };
    write(1);
    assert_eq!(
        changes(&db),
        [
            json!({"s": "public", "t": one, "data_after": {"id": 1, "ssn": "[REDACTED]"}}),
            json!({"s": "public", "t": two, "data_after": {"id": 1}}),
        ]
    );
    let functions = rows(
        &mut db.auditor(),
        "SELECT DISTINCT tgrelid::regclass::text AS t, tgfoid::regproc::text AS f FROM pg_trigger WHERE tgname LIKE '!threadline%'",
    );
    assert_eq!(functions.len(), 2);
    assert_ne!(functions[0]["f"], functions[1]["f"]);

    release(&db, &one);
    write(2);
    assert_eq!(
        changes(&db)[2..],
        [json!({"s": "public", "t": two, "data_after": {"id": 2}})]
    );
    // And the other way round: what is captured anew doesn't take the other's rules.
    db.capture(&one, rules);
    release(&db, &two);
    write(3);
    assert_eq!(
        changes(&db)[3..],
        [json!({"s": "public", "t": one, "data_after": {"id": 3, "ssn": "s"}})]
    );
}

#[test]
fn c22_a_name_longer_than_the_server_keeps_is_refused() {
    let long = "t".repeat(64);
    assert!(long.parse::<threadline::capture::TableName>().is_err());
}
