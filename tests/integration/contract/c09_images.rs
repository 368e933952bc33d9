use serde_json::{Value, json};
use threadline::Definition;
use threadline_tests::{TestDb, execute, rows, value};

const ITEM: Definition = Definition::new("Item", &["id"]);

/// An insert, an update and a delete of one row, captured so: what is stored of each.
fn stored(definition: Definition) -> [Value; 3] {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text, price numeric, \"Zone\" text, touched integer)");
    db.capture("items", definition);
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a', 1.5, NULL, 1)");
    execute(
        &mut app,
        "UPDATE items SET touched = 2, price = 2.5, name = name, \"Zone\" = 'z'",
    );
    execute(&mut app, "DELETE FROM items");
    rows(
        &mut db.auditor(),
        "SELECT data_after, changed_fields, changed_from FROM audit_changes ORDER BY id",
    )
    .try_into()
    .unwrap()
}

fn before() -> Value {
    json!({"id": 1, "name": "a", "price": 1.5, "Zone": null, "touched": 1})
}

fn after() -> Value {
    json!({"id": 1, "name": "a", "price": 2.5, "Zone": "z", "touched": 2})
}

#[test]
fn c09_insert_stores_the_whole_row() {
    let [insert, ..] = stored(ITEM.store_changed_from());
    assert_eq!(
        insert,
        json!({"data_after": before(), "changed_fields": null, "changed_from": null})
    );
}

#[test]
fn c09_update_stores_the_whole_row_and_the_sorted_changed_fields() {
    let [_, update, _] = stored(ITEM);
    assert_eq!(update["data_after"], after());
    assert_eq!(
        update["changed_fields"],
        json!(["Zone", "price", "touched"])
    );
}

#[test]
fn c09_update_stores_prior_values_of_the_changed_fields_if_asked() {
    let [_, update, _] = stored(ITEM.store_changed_from());
    assert_eq!(
        update["changed_from"],
        json!({"Zone": null, "price": 1.5, "touched": 1})
    );
}

#[test]
fn c09_delete_stores_the_old_row_if_asked() {
    let [.., delete] = stored(ITEM.store_changed_from());
    assert_eq!(
        delete,
        json!({"data_after": null, "changed_fields": null, "changed_from": after()})
    );
}

#[test]
fn c09_without_store_changed_from_there_are_no_prior_values() {
    let [insert, update, delete] = stored(ITEM);
    for change in [&insert, &update, &delete] {
        assert_eq!(change["changed_from"], Value::Null);
    }
    assert_eq!(delete["data_after"], Value::Null);
}

#[test]
fn c09_except_columns_are_left_out_of_what_changed_and_of_nothing_else() {
    let [insert, update, delete] = stored(ITEM.store_changed_from().except_columns(&["touched"]));
    assert_eq!(insert["data_after"], before());
    assert_eq!(update["data_after"], after());
    assert_eq!(update["changed_fields"], json!(["Zone", "price"]));
    assert_eq!(update["changed_from"], json!({"Zone": null, "price": 1.5}));
    let mut old = after();
    old.as_object_mut().unwrap().remove("touched");
    assert_eq!(delete["changed_from"], old);
}

#[test]
fn c09_large_images_are_compressed_with_lz4_where_the_server_has_it() {
    let mut owner = TestDb::new().owner();
    let offered = "SELECT coalesce((SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'), false)";
    if value(&mut owner, offered) == false {
        return;
    }
    let columns = rows(
        &mut owner,
        "SELECT attname AS column FROM pg_attribute WHERE attrelid = 'audit_changes'::regclass AND attcompression = 'l' ORDER BY 1",
    );
    assert_eq!(
        columns,
        [
            json!({"column": "changed_from"}),
            json!({"column": "data_after"})
        ]
    );
}
