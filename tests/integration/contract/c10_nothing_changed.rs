use serde_json::{Value, json};
use threadline::Definition;
use threadline_tests::{TestDb, execute, offers, rows};

use super::log::{assert_newest_images_equal_table, lines, newest};

const ITEM: Definition = Definition::new("Item", &["id"]).store_changed_from();

/// What the UPDATE of a row `(1, before)` records; `None` if nothing.
fn recorded(definition: Definition, columns: &str, before: &str, update: &str) -> Option<Value> {
    let db = TestDb::new();
    db.create(&format!(
        "CREATE TABLE items (id bigint PRIMARY KEY, {columns})"
    ));
    db.capture("items", definition);
    let mut app = db.app();
    execute(&mut app, &format!("INSERT INTO items VALUES (1, {before})"));
    execute(&mut app, &format!("UPDATE items SET {update}"));
    let change = match lines(&db, "items").len() {
        1 => None,
        2 => Some(newest(&db, "items")),
        _ => panic!("{:?}", lines(&db, "items")),
    };
    if definition == ITEM {
        assert_newest_images_equal_table(&db, "items");
    }
    change
}

fn changed_fields(definition: Definition, columns: &str, before: &str, update: &str) -> Value {
    let change = recorded(definition, columns, before, update).expect("a change");
    assert_eq!(change["op"], "update");
    change["changed_fields"].clone()
}

/// Fails without `IF NEW *= OLD THEN RETURN NEW` in trigger.sql.
#[test]
fn c10_an_update_that_changes_nothing_is_not_recorded() {
    let columns = "name text, doc json, price numeric";
    let row = r#"'a', '{"a": 1}', 1.0"#;
    assert_eq!(recorded(ITEM, columns, row, "name = name"), None);
    assert_eq!(
        recorded(
            ITEM,
            columns,
            row,
            r#"(name, doc, price) = ROW('a', '{"a": 1}', 1.0)"#
        ),
        None
    );
}

/// Fails with `=` instead of `*=` in trigger.sql.
#[test]
fn c10_another_scale_of_a_numeric_is_a_change() {
    // Compared as text: a JSON number has no scale in Rust.
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, price numeric)",
    );
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 1.0)");
    execute(&mut app, "UPDATE items SET price = 1.00");
    let change = rows(
        &mut db.auditor(),
        "SELECT changed_fields, data_after::text, changed_from::text FROM audit_changes WHERE op = 'update'",
    );
    assert_eq!(
        change,
        [
            json!({"changed_fields": ["price"], "data_after": r#"{"id": 1, "price": 1.00}"#, "changed_from": r#"{"price": 1.0}"#})
        ]
    );
    assert_newest_images_equal_table(&db, "items");
}

/// Fails with `=` instead of `*=` in trigger.sql, and with `IS DISTINCT FROM` between the columns' own values.
#[test]
fn c10_another_case_in_a_citext_is_a_change() {
    let db = TestDb::new();
    if !offers(&mut db.superuser(), "CREATE EXTENSION citext") {
        return;
    }
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, tag citext)",
    );
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'A')");
    execute(&mut app, "UPDATE items SET tag = 'a'");
    let change = newest(&db, "items");
    assert_eq!(change["op"], "update");
    assert_eq!(change["changed_fields"], json!(["tag"]));
    assert_newest_images_equal_table(&db, "items");
}

/// Fails if threadline_is_special_v1 overlooks `inexact`, together with the branch of trigger.sql for `outcome IS NULL`.
#[test]
fn c10_another_text_of_a_json_value_is_a_change() {
    let fields = changed_fields(ITEM, "doc json", r#"'{"a":1}'"#, r#"doc = '{"a": 1}'"#);
    assert_eq!(fields, json!(["doc"]));
}

/// Fails if threadline_is_special_v1 overlooks `inexact`: the images show one of the two changes.
#[test]
fn c10_another_text_of_a_json_value_is_a_change_beside_others() {
    let columns = "name text, doc json, docs json[]";
    let before = r#"'a', '{"a":1}', ARRAY['{"a":1}']::json[]"#;
    let update = r#"name = 'b', doc = '{"a": 1}', docs = ARRAY['{"a": 1}']::json[]"#;
    assert_eq!(
        changed_fields(ITEM, columns, before, update),
        json!(["doc", "docs", "name"])
    );
    let (before, update) = (r#"'a', '{"a":1}'"#, r#"name = 'b', doc = '{"a": 1}'"#);
    assert_eq!(
        changed_fields(ITEM, "name text, doc json", before, update),
        json!(["doc", "name"])
    );
}

/// Fails without the branch of trigger.sql for `outcome IS NULL`.
#[test]
fn c10_a_change_that_json_does_not_show_is_a_change() {
    let fields = changed_fields(ITEM, "doc jsonb", "NULL", "doc = 'null'");
    assert_eq!(fields, json!(["doc"]));
    let fields = changed_fields(ITEM, "ratio float8", "0", "ratio = '-0'");
    assert_eq!(fields, json!(["ratio"]));
}

const TWO: &str = "name text, touched integer, seen integer";

/// Fails without `hidden` in `changed <@ (hidden || …)` of threadline_record_v1.
#[test]
fn c10_an_update_of_excluded_columns_only_is_not_recorded() {
    let definition = ITEM.exclude(&["touched", "seen"]);
    assert_eq!(recorded(definition, TWO, "'a', 1, 1", "touched = 2"), None);
    assert_eq!(
        recorded(definition, TWO, "'a', 1, 1", "touched = 2, seen = 2"),
        None
    );
    let fields = changed_fields(definition, TWO, "'a', 1, 1", "touched = 2, name = 'b'");
    assert_eq!(fields, json!(["name"]));
}

/// Fails if `hidden` has the `except_columns` already in `changed <@ (hidden || …)` of threadline_record_v1.
#[test]
fn c10_an_update_of_except_columns_only_is_recorded_without_changed_fields() {
    let definition = ITEM.except_columns(&["touched"]);
    let change = recorded(definition, TWO, "'a', 1, 1", "touched = 2").expect("a change");
    assert_eq!(change["changed_fields"], json!([]));
    assert_eq!(change["changed_from"], json!({}));
    assert_eq!(
        change["data_after"],
        json!({"id": 1, "name": "a", "touched": 2, "seen": 1})
    );
}

/// Fails if `hidden` has the `except_columns` already in `changed <@ (hidden || …)` of threadline_record_v1.
#[test]
fn c10_an_update_of_except_and_excluded_columns_is_recorded() {
    let definition = ITEM.except_columns(&["touched"]).exclude(&["seen"]);
    let change = recorded(definition, TWO, "'a', 1, 1", "touched = 2, seen = 2").expect("a change");
    assert_eq!(change["changed_fields"], json!([]));
    assert_eq!(
        change["data_after"],
        json!({"id": 1, "name": "a", "touched": 2})
    );
}

/// Fails without the `ignore_only` in `changed <@ (hidden || …)` of threadline_record_v1.
#[test]
fn c10_an_update_of_ignored_columns_only_is_not_recorded() {
    let definition = ITEM.ignore_only(&["touched"]);
    assert_eq!(recorded(definition, TWO, "'a', 1, 1", "touched = 2"), None);
}

/// Fails with `&&` instead of `<@` in `changed <@ (hidden || …)` of threadline_record_v1.
#[test]
fn c10_an_update_of_ignored_and_other_columns_is_recorded_whole() {
    let definition = ITEM.ignore_only(&["touched"]);
    let change =
        recorded(definition, TWO, "'a', 1, 1", "touched = 2, name = 'b'").expect("a change");
    assert_eq!(change["changed_fields"], json!(["name", "touched"]));
    assert_eq!(change["changed_from"], json!({"name": "a", "touched": 1}));
    assert_eq!(change["data_after"]["touched"], 2);
}

/// Fails if the ignored column is left out of `after` in threadline_record_v1.
#[test]
fn c10_the_next_change_shows_an_ignored_column_as_it_is() {
    let db = TestDb::new();
    db.create(&format!(
        "CREATE TABLE items (id bigint PRIMARY KEY, {TWO})"
    ));
    db.capture("items", ITEM.ignore_only(&["touched"]));
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a', 1, 1)");
    execute(&mut app, "UPDATE items SET touched = 2");
    assert_eq!(
        newest(&db, "items")["data_after"]["touched"],
        1,
        "as of the last recorded change"
    );
    execute(&mut app, "UPDATE items SET name = 'b'");
    assert_eq!(newest(&db, "items")["data_after"]["touched"], 2);
    assert_eq!(newest(&db, "items")["changed_fields"], json!(["name"]));
}
