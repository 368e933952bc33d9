use serde_json::json;
use threadline::Definition;
use threadline_tests::{TestDb, execute, rows};

use super::log::{assert_newest_images_equal_table, lines};

fn items(key: &str) -> TestDb {
    let db = TestDb::new();
    db.audited(
        "items",
        &format!("CREATE TABLE items (id bigint, name text, {key})"),
    );
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    db
}

const DEFERRABLE: &str = "PRIMARY KEY (id) DEFERRABLE";

/// Fails with `IF false` instead of `IF pk <> …` in threadline_record_v1.
#[test]
fn c11_a_key_change_is_a_delete_and_an_insert() {
    let db = items("PRIMARY KEY (id)");
    execute(
        &mut db.app(),
        "UPDATE items SET id = 11, name = 'A' WHERE id = 1",
    );
    let halves = rows(
        &mut db.auditor(),
        "SELECT op, table_pk, data_after, changed_fields, changed_from FROM audit_changes ORDER BY id OFFSET 3",
    );
    assert_eq!(
        halves,
        [
            json!({"op": "delete", "table_pk": {"id": "1"}, "data_after": null, "changed_fields": null,
                   "changed_from": {"id": 1, "name": "a"}}),
            json!({"op": "insert", "table_pk": {"id": "11"}, "data_after": {"id": 11, "name": "A"},
                   "changed_fields": null, "changed_from": null}),
        ]
    );
    assert_newest_images_equal_table(&db, "items");
}

/// Fails if threadline_key_of_v1 looks at the first key column only.
#[test]
fn c11_one_column_of_several_is_a_key_change() {
    let db = TestDb::new();
    for key in ["a, b", "a, b, c"] {
        let table = format!("wide_{}", key.len());
        db.create(&format!(
            "CREATE TABLE {table} (a integer, b integer, c integer, n integer, PRIMARY KEY ({key}))"
        ));
        let columns: &[_] = if key.len() == 4 {
            &["a", "b"]
        } else {
            &["a", "b", "c"]
        };
        db.capture(&table, Definition::new("Wide", columns));
        execute(
            &mut db.app(),
            &format!("INSERT INTO {table} VALUES (1, 1, 1, 1)"),
        );
        execute(&mut db.app(), &format!("UPDATE {table} SET b = 2"));
        assert_eq!(
            lines(&db, &table)
                .iter()
                .map(|line| line.split(' ').next().unwrap())
                .collect::<Vec<_>>(),
            ["insert", "delete", "insert"]
        );
        assert_newest_images_equal_table(&db, &table);
    }
}

/// Fails if threadline_record_v1 compares the whole images instead of the keys.
#[test]
fn c11_an_update_that_sets_the_key_to_itself_is_no_key_change() {
    let db = items("PRIMARY KEY (id)");
    execute(
        &mut db.app(),
        "UPDATE items SET id = id, name = 'A' WHERE id = 1",
    );
    assert_eq!(lines(&db, "items")[3..], ["update 1"]);
}

/// Fails without `RETURN 'left'` where threadline_record_v1 records a key change: the second row's delete takes the first one's place.
#[test]
fn c11_swapped_keys_end_with_the_live_rows_newest() {
    let db = items(DEFERRABLE);
    execute(&mut db.app(), "UPDATE items SET id = 3 - id WHERE id < 3");
    assert_newest_images_equal_table(&db, "items");
}

/// As above.
#[test]
fn c11_rotated_keys_end_with_the_live_rows_newest() {
    for update in [
        "id = id % 3 + 1",
        "id = (id + 1) % 3 + 1",
        "id = id + 1",
        "id = id - 1",
    ] {
        let db = items(DEFERRABLE);
        execute(&mut db.app(), &format!("UPDATE items SET {update}"));
        assert_newest_images_equal_table(&db, "items");
    }
}

/// As above, statement by statement: two rows live under one key until the transaction commits.
#[test]
fn c11_keys_swapped_one_by_one_end_with_the_live_rows_newest() {
    let db = items(&format!("{DEFERRABLE} INITIALLY DEFERRED"));
    let mut app = db.app();
    execute(&mut app, "BEGIN");
    execute(&mut app, "UPDATE items SET id = 2 WHERE name = 'a'");
    execute(&mut app, "UPDATE items SET id = 1 WHERE name = 'b'");
    execute(&mut app, "COMMIT");
    assert_newest_images_equal_table(&db, "items");
}

/// Fails without `key_deferrable` in trigger.sql: nothing but the key says that the deleted row had a double.
#[test]
fn c11_a_row_replaced_under_a_deferred_key_is_newest() {
    let db = items(&format!("{DEFERRABLE} INITIALLY DEFERRED"));
    let mut app = db.app();
    execute(&mut app, "BEGIN");
    execute(&mut app, "INSERT INTO items VALUES (1, 'new')");
    execute(&mut app, "DELETE FROM items WHERE name = 'a'");
    execute(&mut app, "COMMIT");
    assert_newest_images_equal_table(&db, "items");
}

/// A deferrable key is accepted where it is the primary key; another unique constraint has to be immediate. Fails
/// without `i.indimmediate` in threadline_checked_key_v1.
#[test]
fn c11_a_deferrable_unique_constraint_is_no_key() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint NOT NULL UNIQUE DEFERRABLE, code bigint NOT NULL UNIQUE)",
    );
    let refused = db
        .try_capture("items", Definition::new("Item", &["id"]))
        .unwrap_err();
    assert!(refused.to_string().contains("immediate"), "{refused}");
    db.capture("items", Definition::new("Item", &["code"]));
}
