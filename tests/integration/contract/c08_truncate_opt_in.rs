//! C8: what a table may choose instead of one `truncate` change.

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::{AsOf, Definition, Level, Op, Truncate, prelude::*};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

use super::log::lines;

diesel::table! {
    items (id) { id -> BigInt, name -> Text, secret -> Nullable<Text>, }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
#[audited(store_changed_from, truncate = rows)]
struct Item {
    id: i64,
    name: String,
    #[audited(mask)]
    secret: Option<String>,
}

const CREATE: &str = "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL, secret text)";
const TWO: &str = "INSERT INTO items VALUES (1, 'a', 'canary'), (2, 'b', NULL)";

fn items(definition: Definition) -> TestDb {
    let db = TestDb::new();
    db.create(CREATE);
    db.capture("items", definition);
    execute(&mut db.app(), TWO);
    db
}

fn deletes(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT table_pk ->> 'id' AS id, data_after, changed_fields, changed_from FROM audit_changes WHERE op = 'delete' ORDER BY id",
    )
}

#[test]
fn c08_each_row_is_a_delete_with_what_it_was() {
    for level in [Level::Row, Level::Statement] {
        let db = items(Item::DEFINITION.level(level));
        execute(&mut db.app(), "TRUNCATE items");
        let [a, b] = deletes(&db).try_into().unwrap();
        let delete = |id: i64, name: &str, secret: Option<&str>| {
            json!({"id": id.to_string(), "data_after": null, "changed_fields": null,
                   "changed_from": {"id": id, "name": name, "secret": secret}})
        };
        assert_eq!(a, delete(1, "a", Some("[REDACTED]")));
        assert_eq!(b, delete(2, "b", None));
        assert_eq!(
            lines(&db, "items"),
            ["insert 1", "insert 2", "delete 1", "delete 2"]
        );
    }
}

#[test]
fn c08_typed_reads_show_the_deletes() {
    let db = items(Item::DEFINITION);
    execute(&mut db.app(), "TRUNCATE items");
    let mut auditor = db.auditor();
    let history = Item::history(1).load(&mut auditor).unwrap();
    let ops: Vec<_> = history.iter().map(|change| change.op).collect();
    assert_eq!(ops, [Op::Delete, Op::Insert]);
    let now = Item::as_of(1, diesel::dsl::now).get_result(&mut auditor);
    assert!(matches!(now, Ok(AsOf::Deleted(_))), "{now:?}");
}

#[test]
fn c08_an_empty_table_leaves_nothing() {
    let db = items(Item::DEFINITION);
    execute(&mut db.app(), "DELETE FROM items");
    let before = lines(&db, "items");
    execute(&mut db.app(), "TRUNCATE items");
    assert_eq!(lines(&db, "items"), before);
}

#[test]
fn c08_a_rolled_back_truncate_leaves_no_deletes() {
    let db = items(Item::DEFINITION);
    execute(&mut db.app(), "BEGIN; TRUNCATE items; ROLLBACK");
    assert_eq!(lines(&db, "items"), ["insert 1", "insert 2"]);
}

/// What a trigger writes before the rows go is part of what goes.
#[test]
fn c08_rows_of_another_trigger_go_too() {
    let db = items(Item::DEFINITION);
    db.create(
        "CREATE FUNCTION farewell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO items VALUES (3, 'farewell'); RETURN NULL; END $$;
         CREATE TRIGGER farewell BEFORE TRUNCATE ON items FOR EACH STATEMENT EXECUTE FUNCTION farewell()",
    );
    execute(&mut db.app(), "TRUNCATE items");
    assert_eq!(
        lines(&db, "items")[2..],
        ["insert 3", "delete 1", "delete 2", "delete 3"]
    );
}

#[test]
fn c08_a_cascading_truncate_deletes_row_by_row() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE parents (id bigint PRIMARY KEY);
         CREATE TABLE items (id bigint PRIMARY KEY REFERENCES parents, name text, secret text)",
    );
    db.capture("items", Item::DEFINITION);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO parents VALUES (1); INSERT INTO items VALUES (1, 'a'); TRUNCATE parents CASCADE",
    );
    assert_eq!(lines(&db, "items"), ["insert 1", "delete 1"]);
}

fn partitioned(truncate: Truncate) -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, name text, secret text) PARTITION BY RANGE (id);
         CREATE TABLE items_low PARTITION OF items FOR VALUES FROM (0) TO (100);
         CREATE TABLE items_high PARTITION OF items FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
         CREATE TABLE items_highest PARTITION OF items_high FOR VALUES FROM (150) TO (200)",
    );
    db.capture("items", Item::DEFINITION.truncate(truncate));
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'), (2, 'b'), (160, 'c')",
    );
    db
}

/// Once for each row, whichever of the tables is named.
#[test]
fn c08_a_partition_alone_is_recorded_row_by_row() {
    for (truncate, gone) in [
        ("items_low", &["delete 1", "delete 2"][..]),
        ("items_high", &["delete 160"]),
        ("items_highest", &["delete 160"]),
        ("items", &["delete 1", "delete 160", "delete 2"]),
        ("items, items_low", &["delete 1", "delete 160", "delete 2"]),
    ] {
        let db = partitioned(Truncate::Rows);
        execute(&mut db.app(), &format!("TRUNCATE {truncate}"));
        let mut recorded = lines(&db, "items").split_off(3);
        recorded.sort();
        assert_eq!(recorded, gone, "TRUNCATE {truncate}");
        let left = value(&mut db.app(), "SELECT count(*) FROM items");
        assert_eq!(left, 3 - gone.len(), "TRUNCATE {truncate}");
    }
}

#[test]
fn c08_truncate_is_refused_where_the_policy_says_so() {
    let db = items(Item::DEFINITION.truncate(Truncate::Refuse));
    let refused = try_execute(&mut db.app(), "TRUNCATE items").unwrap_err();
    assert!(
        refused.contains("threadline: TRUNCATE of public.items is refused"),
        "{refused}"
    );
    assert!(refused.contains("DELETE its rows"), "{refused}");
    execute(&mut db.app(), "DELETE FROM items");
    assert_eq!(lines(&db, "items")[2..], ["delete 1", "delete 2"]);
}

#[test]
fn c08_truncate_of_a_partition_is_refused_where_the_policy_says_so() {
    let db = partitioned(Truncate::Refuse);
    for table in ["items", "items_low", "items_highest"] {
        let refused = try_execute(&mut db.app(), &format!("TRUNCATE {table}")).unwrap_err();
        assert!(refused.contains("is refused"), "{refused}");
    }
    assert_eq!(value(&mut db.app(), "SELECT count(*) FROM items"), 3);
}

#[test]
fn c08_a_cascading_truncate_is_refused_where_the_policy_says_so() {
    let db = items(Item::DEFINITION.truncate(Truncate::Refuse));
    db.create(
        "CREATE TABLE parents (id bigint PRIMARY KEY); INSERT INTO parents VALUES (1), (2);
         ALTER TABLE items ADD FOREIGN KEY (id) REFERENCES parents",
    );
    let refused = try_execute(&mut db.app(), "TRUNCATE parents CASCADE").unwrap_err();
    assert!(
        refused.contains("TRUNCATE of public.items is refused"),
        "{refused}"
    );
    assert_eq!(value(&mut db.app(), "SELECT count(*) FROM parents"), 2);
}

#[test]
fn c08_the_choice_can_change() {
    let db = items(Item::DEFINITION);
    let names = "SELECT jsonb_agg(tgname ORDER BY tgname::text COLLATE \"C\") FROM pg_trigger WHERE tgrelid = 'items'::regclass";
    for (choice, trigger, last) in [
        (Truncate::Marker, "!threadline_truncate", "truncate"),
        (Truncate::Rows, "~threadline_truncate", "delete 2"),
        (Truncate::Marker, "!threadline_truncate", "truncate"),
    ] {
        db.capture("items", Item::DEFINITION.truncate(choice));
        assert_eq!(
            value(&mut db.owner(), names),
            json!(["!threadline", trigger])
        );
        execute(&mut db.app(), "TRUNCATE items");
        assert_eq!(lines(&db, "items").pop().unwrap(), last);
        execute(&mut db.app(), TWO);
    }
}
