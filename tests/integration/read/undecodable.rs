//! A recorded row that no longer fits spoils itself, never the query, and says which column it is.

use diesel::prelude::*;
use threadline::{
    AsOf, AuditChange, Change, DecodeError, Snapshot, TimelineFilter, prelude::*, recorded,
    timeline,
};
use threadline_tests::{TestDb, execute};

diesel::table! { items (id) { id -> BigInt, name -> Text, state -> Text, note -> Nullable<Text>, } }
diesel::table! {
    #[sql_name = "items"]
    typed (id) { id -> BigInt, name -> Integer, }
}

diesel::table! { docs (id) { id -> BigInt, doc -> Jsonb, } }
diesel::table! {
    #[sql_name = "docs"]
    lenient_docs (id) { id -> BigInt, doc -> Nullable<Jsonb>, }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = docs)]
struct Doc {
    id: i64,
    doc: serde_json::Value,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = lenient_docs)]
#[audited(read_only)]
struct Lenient {
    id: i64,
    doc: Option<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
struct Item {
    id: i64,
    name: String,
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = typed)]
struct Typed {
    id: i64,
    name: i32,
}

fn items(name: &str) -> TestDb {
    let db = TestDb::new();
    db.create(&format!("CREATE TYPE state AS ENUM ('old', 'new'); CREATE TABLE items (id bigint PRIMARY KEY, name {name}, state state, note text)"));
    db.capture("items", Item::DEFINITION);
    db
}

/// Of two changes, the newer decodes and the older names `column`.
fn assert_only_the_older_is_spoilt<M: std::fmt::Debug>(
    history: &[Change<M>],
    column: &str,
) -> String {
    assert_eq!(history.len(), 2);
    assert!(
        matches!(history[0].snapshot, Snapshot::After(_)),
        "{:?}",
        history[0]
    );
    let Snapshot::Undecodable(problem) = &history[1].snapshot else {
        panic!("{:?}", history[1])
    };
    let problem = problem.to_string();
    assert!(problem.contains(column), "{problem}");
    problem
}

/// What is said after the cause.
const VALUE: &str = "; the column can't hold what was recorded: its type, a label of an enum or a check has changed since, \
    or the placeholder of a mask doesn't fit it. Let its type take the value, such as by ALTER TYPE ... ADD VALUE for a label, \
    or read the row as it was recorded, from the entries of timeline()";
const NO_VALUE: &str = "; NULL was recorded, which a jsonb null is too, or nothing under this name. Make the field an Option, or give it \
    #[audited(fill = ...)] for rows older than the column, or #[audited(formerly = \"...\")] for a column that was renamed";
const MODEL: &str = "; the table can hold the value and the model can't. Give the field, and the column in table!, the type \
    that the column has in the table, with a variant for each label of an enum";

#[test]
fn a_column_turned_not_null() {
    let db = items("text");
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, NULL); UPDATE items SET name = 'a'",
    );
    execute(
        &mut db.owner(),
        "ALTER TABLE items ALTER COLUMN name SET NOT NULL",
    );
    let history = Item::history(1).load(&mut db.auditor()).unwrap();
    let problem = assert_only_the_older_is_spoilt(&history, "name");
    assert_eq!(
        problem,
        format!("column name: no value, and the model needs one{NO_VALUE}")
    );
    let row = Item::as_of(1, history[1].captured_at)
        .get_result(&mut db.auditor())
        .unwrap();
    let AsOf::Undecodable { problem, .. } = row else {
        panic!("{row:?}")
    };
    assert!(
        matches!(&problem, DecodeError::NoValue { columns } if columns == &["name"]),
        "{problem}"
    );
}

/// A model that is behind its table reads what it can: the column is NULL and the model takes it.
#[test]
fn a_column_turned_not_null_that_the_model_takes_as_null() {
    let db = items("text NOT NULL");
    execute(
        &mut db.app(),
        "INSERT INTO items (id, name) VALUES (1, 'a'); UPDATE items SET note = 'n'",
    );
    execute(
        &mut db.owner(),
        "ALTER TABLE items ALTER COLUMN note SET NOT NULL",
    );
    let history = Item::history(1).load(&mut db.auditor()).unwrap();
    assert_eq!(
        history[1].after(),
        Some(&Item {
            id: 1,
            name: "a".into(),
            note: None
        })
    );
}

/// The image of a row says the same of either, and PostgreSQL makes NULL of it.
#[test]
fn a_jsonb_null_is_taken_for_null() {
    let db = TestDb::new();
    db.create("CREATE TABLE docs (id bigint PRIMARY KEY, doc jsonb NOT NULL)");
    db.capture("docs", Doc::DEFINITION);
    execute(
        &mut db.app(),
        "INSERT INTO docs VALUES (1, 'null'), (2, '[null]')",
    );
    let mut conn = db.auditor();
    let row = Doc::as_of(1, diesel::dsl::now)
        .get_result(&mut conn)
        .unwrap();
    let AsOf::Undecodable { problem, .. } = row else {
        panic!("{row:?}")
    };
    assert_eq!(
        problem.to_string(),
        format!("column doc: no value, and the model needs one{NO_VALUE}")
    );
    let row = Lenient::as_of(1, diesel::dsl::now)
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(row.into_row(), Some(Lenient { id: 1, doc: None }));
    let row = Doc::as_of(2, diesel::dsl::now)
        .get_result(&mut conn)
        .unwrap();
    let doc = serde_json::json!([null]);
    assert_eq!(row.into_row(), Some(Doc { id: 2, doc }));
}

#[test]
fn a_label_of_an_enum_that_is_gone() {
    let db = items("text");
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a', 'old'); UPDATE items SET state = 'new'",
    );
    execute(
        &mut db.owner(),
        "ALTER TYPE state RENAME VALUE 'old' TO 'ancient'",
    );
    let history = Item::history(1).load(&mut db.auditor()).unwrap();
    let problem = assert_only_the_older_is_spoilt(&history, "column state");
    assert_eq!(
        problem,
        format!("column state: invalid input value for enum state: \"old\"{VALUE}")
    );
    // As it says.
    let entries = timeline(TimelineFilter::new().table("items"))
        .get_result(&mut db.auditor())
        .unwrap()
        .entries;
    let state = |entry: &AuditChange| entry.data_after.as_ref().unwrap()["state"].as_str();
    assert_eq!(state(&entries[1]).as_deref(), Some("old"));
    // Neither do filters, orders nor parts of the row fail.
    let mut conn = db.auditor();
    assert_eq!(
        Item::history(1)
            .filter(items::name.eq("a"))
            .load(&mut conn)
            .unwrap()
            .len(),
        1
    );
    let names: Vec<Option<String>> = Item::history(1)
        .select(recorded(items::name))
        .load(&mut conn)
        .unwrap();
    assert_eq!(names, [Some("a".to_owned()), None]);
}

#[test]
fn a_column_of_another_type() {
    let db = items("text");
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'many'); UPDATE items SET name = '3'",
    );
    execute(
        &mut db.owner(),
        "ALTER TABLE items ALTER COLUMN name TYPE int USING name::int",
    );
    let history = Typed::history(1).load(&mut db.auditor()).unwrap();
    let problem = assert_only_the_older_is_spoilt(
        &history,
        "column name: invalid input syntax for type integer",
    );
    assert!(
        problem.contains("many") && problem.ends_with(VALUE),
        "{problem}"
    );
}

#[test]
fn a_value_that_the_domain_refuses_now() {
    let db = TestDb::new();
    db.create("CREATE DOMAIN short AS text; CREATE TABLE items (id bigint PRIMARY KEY, name short, state text, note text)");
    db.capture("items", Item::DEFINITION);
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'too long'); UPDATE items SET name = 'ok'",
    );
    execute(
        &mut db.owner(),
        "ALTER DOMAIN short ADD CHECK (length(VALUE) < 5)",
    );
    let history = Item::history(1).load(&mut db.auditor()).unwrap();
    assert_only_the_older_is_spoilt(&history, "column name:");
}

/// The model is wrong about the table.
#[test]
fn a_model_of_another_type() {
    let db = items("text");
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    let history = Typed::history(1).load(&mut db.auditor()).unwrap();
    let Snapshot::Undecodable(problem) = &history[0].snapshot else {
        panic!("{history:?}")
    };
    assert!(matches!(problem, DecodeError::Model { .. }), "{problem:?}");
    let problem = problem.to_string();
    assert!(
        problem.contains("name") && problem.ends_with(MODEL),
        "{problem}"
    );
}
