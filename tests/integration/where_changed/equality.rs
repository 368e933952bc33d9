//! What equals what: values as capture prints them.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::*;

diesel::table! {
    things (id) {
        id -> BigInt,
        price -> Nullable<Numeric>,
        at -> Nullable<Timestamptz>,
        doc -> Nullable<Jsonb>,
        tags -> Nullable<Array<Text>>,
        code -> Nullable<Bpchar>,
        ratio -> Nullable<Double>,
        blob -> Nullable<Binary>,
        kind -> Nullable<Text>,
        body -> Nullable<Text>,
    }
}

#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = things)]
#[audited(read_only)]
struct Thing {
    id: i64,
}

fn things() -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TYPE kind AS ENUM ('good', 'bad');
         CREATE TABLE things (id bigint PRIMARY KEY, price numeric(10,2), at timestamptz, doc jsonb, tags text[], code char(5),
           ratio float8, blob bytea, kind kind, body text)",
    );
    db.capture("things", plain().store_changed_from());
    db
}

/// Ids of the rows that came with a value, as seen by a session with other settings.
macro_rules! came_with {
    ($db:expr, $column:expr, $value:expr) => {{
        let mut conn = $db.auditor();
        execute(
            &mut conn,
            "SET timezone = 'Asia/Tokyo'; SET datestyle = 'SQL, DMY'; SET extra_float_digits = -10; SET bytea_output = 'escape'",
        );
        let mut found: Vec<i64> = Thing::changes()
            .filter(where_changed($column).to($value))
            .load(&mut conn)
            .unwrap()
            .iter()
            .map(|change| change.after().unwrap().id)
            .collect();
        found.sort_unstable();
        found
    }};
}

#[test]
fn numbers_are_equal_by_value_and_text_to_the_letter() {
    let db = things();
    execute(
        &mut db.app(),
        "INSERT INTO things (id, price, ratio, code, body) VALUES (1, 120, 0.1, 'ab', 'Abc'), (2, 120.01, 0.30000000000000004, 'abc', 'abc')",
    );
    let price = |text: &str| text.parse::<BigDecimal>().unwrap();
    assert_eq!(came_with!(db, things::price, price("120")), [1]);
    assert_eq!(came_with!(db, things::price, price("120.000")), [1]);
    assert_eq!(came_with!(db, things::price, price("120.01")), [2]);
    assert_eq!(came_with!(db, things::ratio, 0.1), [1]);
    assert_eq!(came_with!(db, things::ratio, 0.1 + 0.2), [2]);
    assert_eq!(came_with!(db, things::ratio, 0.3), Vec::<i64>::new());
    assert_eq!(came_with!(db, things::code, "ab"), [1]);
    assert_eq!(came_with!(db, things::code, "ab   "), [1]);
    assert_eq!(came_with!(db, things::body, "Abc"), [1]);
}

#[test]
fn moments_and_bytes_do_not_depend_on_the_session() {
    let db = things();
    execute(
        &mut db.app(),
        "SET timezone = 'America/New_York'; INSERT INTO things (id, at, blob) VALUES (1, '2026-03-15 10:30:00.5Z', '\\x00ff5c')",
    );
    let moment: DateTime<Utc> = "2026-03-15T10:30:00.5Z".parse().unwrap();
    assert_eq!(came_with!(db, things::at, moment), [1]);
    assert_eq!(came_with!(db, things::blob, vec![0_u8, 255, b'\\']), [1]);
}

#[test]
fn a_document_is_found_by_all_of_it() {
    let db = things();
    execute(
        &mut db.app(),
        r#"INSERT INTO things (id, doc, tags) VALUES (1, '{"a": [1.0], "b": 2}', '{x,y}'), (2, '{"a": [1]}', '{x}'), (3, '[]', '{}'), (4, NULL, NULL)"#,
    );
    assert_eq!(came_with!(db, things::doc, json!({"a": [1]})), [2]);
    assert_eq!(came_with!(db, things::doc, json!({"b": 2, "a": [1]})), [1]);
    assert_eq!(came_with!(db, things::doc, json!([])), [3]);
    assert_eq!(came_with!(db, things::doc, None::<Value>), [4]);
    assert_eq!(came_with!(db, things::tags, vec!["x"]), [2]);
    assert_eq!(
        came_with!(db, things::tags, vec!["y", "x"]),
        Vec::<i64>::new()
    );
}

#[test]
fn a_value_is_cast_to_the_type_of_the_column() {
    let db = things();
    execute(
        &mut db.app(),
        "INSERT INTO things (id, kind) VALUES (1, 'good'), (2, 'bad')",
    );
    assert_eq!(came_with!(db, things::kind, "bad"), [2]);
}

#[test]
fn what_was_too_large_never_matches() {
    let db = things();
    execute(
        &mut db.app(),
        "INSERT INTO things (id, body, doc) VALUES
           (1, repeat('b', 1100000), jsonb_build_object('k', repeat('b', 1100000))), (2, NULL, '{\"$threadline\": \"omitted\"}')",
    );
    assert_eq!(
        came_with!(db, things::body, "b".repeat(1_100_000)),
        Vec::<i64>::new()
    );
    let mark = rows(
        &mut db.auditor(),
        "SELECT data_after -> 'doc' AS doc FROM audit_changes WHERE table_pk = '{\"id\": \"1\"}'",
    )[0]["doc"]
        .take();
    assert_eq!(mark["$threadline"], "omitted");
    assert_eq!(came_with!(db, things::doc, mark), Vec::<i64>::new());
    assert_eq!(
        came_with!(db, things::doc, json!({"$threadline": "omitted"})),
        [2]
    );
}
