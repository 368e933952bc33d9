//! What the log knows, and how the tables have changed their shape since.

use threadline::{Change, Decision, Definition, change, prelude::*};

use super::*;

diesel::table! {
    items (id) { id -> Integer, name -> Nullable<Text>, n -> Nullable<Integer>, }
}

#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
#[audited(read_only)]
#[expect(dead_code, reason = "only its changes are reverted")]
struct Item {
    id: i32,
}

const ITEMS: &str = "CREATE TABLE items (id int PRIMARY KEY, name text, n int)";

fn plain() -> Definition {
    Definition::new("Item", &["id"])
}

fn items(definition: Definition) -> TestDb {
    let db = TestDb::new();
    db.create(ITEMS);
    db.capture("items", definition);
    db
}

fn live(db: &TestDb) -> Vec<serde_json::Value> {
    rows(&mut db.owner(), "SELECT * FROM items ORDER BY id")
}

fn changes(db: &TestDb) -> Vec<Change<Item>> {
    Item::changes()
        .order(change::id)
        .load(&mut db.auditor())
        .unwrap()
}

#[test]
fn one_change_is_reverted_alone() {
    let db = items(plain().store_changed_from());
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 2); UPDATE items SET n = n + 10",
    );
    let change = &changes(&db)[2];
    let plan = change.revert_plan().get_result(&mut db.reverter()).unwrap();
    assert_eq!(plan.subject().to_string(), format!("change {}", change.id));
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(live(&db)[0]["n"], 1);
    assert_eq!(live(&db)[1]["n"], 12);
}

#[test]
fn a_change_that_a_later_one_of_its_transaction_overwrote() {
    let db = items(plain().store_changed_from());
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a', 1)");
    execute(
        &mut db.app(),
        "UPDATE items SET n = 2; UPDATE items SET n = 3",
    );
    let plan = changes(&db)[1]
        .revert_plan()
        .get_result(&mut db.reverter())
        .unwrap();
    assert_eq!(plan.conflicts()[0].kind, ConflictKind::ChangedSince);
}

/// Earlier history tells, where the table keeps no values before.
#[test]
fn values_from_earlier_history() {
    let db = items(plain().on_change(&["name"]));
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 2); UPDATE items SET n = 5",
    );
    let before = live(&db);
    let transaction = work(
        &db,
        "BEGIN; UPDATE items SET name = 'x' WHERE id = 1; DELETE FROM items WHERE id = 2; COMMIT",
    );
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts(), []);
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(live(&db), before);
}

#[test]
fn values_that_the_log_does_not_have() {
    let db = TestDb::new();
    db.create(ITEMS);
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 2)",
    );
    db.capture("items", plain());
    let transaction = work(
        &db,
        "BEGIN; UPDATE items SET n = 5 WHERE id = 1; DELETE FROM items WHERE id = 2; COMMIT",
    );
    let plan = plan(&db, transaction);
    assert_eq!(
        kinds(&plan),
        [
            ("public.items", r#""1""#.into(), &ConflictKind::NotRecorded),
            ("public.items", r#""2""#.into(), &ConflictKind::NotRecorded)
        ]
    );
    assert_eq!(plan.conflicts()[0].columns, ["n"]);
    assert_eq!(plan.conflicts()[1].columns, ["id", "name", "n"]);
}

/// An `except_columns` column is in no delete; the change before has it.
#[test]
fn columns_that_the_policy_leaves_out_of_the_values_before() {
    let db = TestDb::new();
    db.create(ITEMS);
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 2)",
    );
    db.capture("items", plain().store_changed_from().except_columns(&["n"]));
    execute(&mut db.app(), "UPDATE items SET name = 'c' WHERE id = 2");
    let transaction = work(&db, "DELETE FROM items");
    let mut plan = plan(&db, transaction);
    assert_eq!(
        kinds(&plan),
        [("public.items", r#""1""#.into(), &ConflictKind::NotRecorded)]
    );
    assert_eq!(plan.conflicts()[0].columns, ["n"]);
    plan.decide_all(|_| Some(Decision::Force)).unwrap();
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(
        live(&db),
        [
            serde_json::json!({"id": 1, "name": "a", "n": null}),
            serde_json::json!({"id": 2, "name": "c", "n": 2})
        ]
    );
}

#[test]
fn a_value_that_was_too_large() {
    let db = items(plain().store_changed_from());
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, repeat('x', 1100000), 1)",
    );
    let transaction = work(&db, "UPDATE items SET name = 'short', n = 2");
    let mut plan = plan(&db, transaction);
    assert_eq!(plan.conflicts()[0].kind, ConflictKind::NotRecorded);
    assert_eq!(plan.conflicts()[0].columns, ["name"]);
    plan.decide_all(|_| Some(Decision::Force)).unwrap();
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(
        live(&db),
        [serde_json::json!({"id": 1, "name": "short", "n": 1})]
    );
}

/// The live row is compared by the digest of what is too large.
#[test]
fn a_row_with_a_large_value_that_has_not_changed() {
    let db = items(plain().store_changed_from());
    let transaction = work(&db, "INSERT INTO items VALUES (1, repeat('x', 1100000), 1)");
    assert_eq!(plan(&db, transaction).conflicts(), []);
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica; UPDATE items SET name = repeat('y', 1100000)",
    );
    assert_eq!(plan(&db, transaction).conflicts()[0].columns, ["name"]);
}

#[test]
fn a_table_and_a_column_that_were_renamed() {
    let db = items(plain().store_changed_from());
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a', 1)");
    let transaction = work(&db, "UPDATE items SET name = 'b', n = 2");
    db.create("ALTER TABLE items RENAME TO things; ALTER TABLE things RENAME name TO title; ALTER TABLE things RENAME id TO no");
    db.capture(
        "things",
        Definition::new("Thing", &["no"])
            .store_changed_from()
            .formerly(&["items"])
            .columns_formerly(&[("title", "name"), ("no", "id")]),
    );
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts(), []);
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(
        rows(&mut db.owner(), "SELECT * FROM things"),
        [serde_json::json!({"no": 1, "title": "a", "n": 1})]
    );
}

#[test]
fn of_several_former_names_the_newest_has_the_value() {
    let db = items(plain().store_changed_from());
    db.create("ALTER TABLE items RENAME name TO label; ALTER TABLE items ADD name text");
    db.capture(
        "items",
        plain()
            .store_changed_from()
            .columns_formerly(&[("label", "name")]),
    );
    execute(
        &mut db.app(),
        "INSERT INTO items (id, label, name, n) VALUES (1, 'its own', 'another', 1)",
    );
    let transaction = work(&db, "UPDATE items SET label = 'changed'");
    db.create("ALTER TABLE items DROP name; ALTER TABLE items RENAME label TO title");
    db.capture(
        "items",
        plain()
            .store_changed_from()
            .columns_formerly(&[("title", "label"), ("title", "name")]),
    );
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts(), []);
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(
        live(&db),
        [serde_json::json!({"id": 1, "title": "its own", "n": 1})]
    );
}

#[test]
fn columns_that_came_and_went_since() {
    let db = items(plain().store_changed_from());
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 2)",
    );
    let transaction = work(
        &db,
        "BEGIN; UPDATE items SET n = 5, name = 'x' WHERE id = 1; DELETE FROM items WHERE id = 2; COMMIT",
    );
    db.create(
        "ALTER TABLE items DROP n; ALTER TABLE items ADD since text NOT NULL DEFAULT 'later'",
    );
    let mut plan = plan(&db, transaction);
    assert_eq!(
        kinds(&plan),
        [("public.items", r#""1""#.into(), &ConflictKind::NoSuchColumn)]
    );
    plan.decide_all(|_| Some(Decision::Force)).unwrap();
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(
        live(&db),
        [
            serde_json::json!({"id": 1, "name": "a", "since": "later"}),
            serde_json::json!({"id": 2, "name": "b", "since": "later"})
        ]
    );
}

#[test]
fn a_table_that_is_gone() {
    let db = items(plain().store_changed_from());
    let transaction = work(&db, "INSERT INTO items VALUES (1, 'a', 1)");
    execute(&mut db.owner(), "DROP TABLE items");
    let plan = plan(&db, transaction);
    assert_eq!(
        kinds(&plan),
        [("public.items", r#""1""#.into(), &ConflictKind::TableGone)]
    );
}

#[test]
fn a_transaction_that_the_log_does_not_know() {
    let db = items(plain());
    let plan = plan(&db, Uuid::nil());
    assert_eq!((plan.steps().len(), plan.conflicts().len()), (0, 0));
}

/// In the log they are JSON strings; only one of them was one.
#[test]
fn a_document_that_was_kept_as_text() {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id int PRIMARY KEY, name json, n int)");
    db.capture("items", plain().store_changed_from());
    execute(
        &mut db.app(),
        r#"INSERT INTO items VALUES (1, '{"a": "\u0000"}', 1), (2, '"{\"a\": 1}"', 2), (3, '"no document"', 3)"#,
    );
    let transaction = work(&db, "UPDATE items SET name = NULL");
    let plan = plan(&db, transaction);
    assert_eq!(
        kinds(&plan),
        [("public.items", r#""1""#.into(), &ConflictKind::NotRecorded)]
    );
    assert_eq!(plan.steps().len(), 2);
}

/// Such a row is no `jsonb` as a whole.
#[test]
fn a_live_document_that_is_no_jsonb() {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id int PRIMARY KEY, name json, n int)");
    db.capture("items", plain().store_changed_from());
    let sql = r#"INSERT INTO items VALUES (1, '{"a": "\u0000"}', 1)"#;
    let transaction = work(&db, sql);
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts(), []);
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(live(&db), [] as [serde_json::Value; 0]);
}

#[test]
fn a_partitioned_table() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id int PRIMARY KEY, name text, n int) PARTITION BY LIST (id);
         CREATE TABLE items_1 PARTITION OF items FOR VALUES IN (1); CREATE TABLE items_rest PARTITION OF items DEFAULT",
    );
    db.capture("items", plain().store_changed_from());
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a', 1), (2, 'b', 2)",
    );
    let before = live(&db);
    let transaction = work(
        &db,
        "BEGIN; UPDATE items SET id = 3 WHERE id = 1; UPDATE items SET n = 5; DELETE FROM items_rest WHERE id = 2; COMMIT",
    );
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts(), []);
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(live(&db), before);
}

#[test]
fn a_table_that_is_not_captured_any_more() {
    let db = items(plain().store_changed_from());
    let transaction = work(&db, "INSERT INTO items VALUES (1, 'a', 1)");
    execute(
        &mut db.owner(),
        "SELECT threadline_release_v1('items'::regclass, 'items', '2s')",
    );
    let plan = plan(&db, transaction);
    assert_eq!(
        kinds(&plan),
        [("public.items", r#""1""#.into(), &ConflictKind::NotCaptured)]
    );
    assert!(!plan.conflicts()[0].may_force());
}
