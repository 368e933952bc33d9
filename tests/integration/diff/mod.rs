//! Diffs of recorded changes.

mod history;
mod property;
mod values;

use diesel::prelude::*;
use threadline::{Change, DiffOptions, change, change_diff, prelude::*};
use threadline_tests::{TestDb, execute};

diesel::table! {
    items (id) {
        id -> BigInt,
        name -> Text,
        price -> Nullable<Numeric>,
        ssn -> Nullable<Text>,
        pin -> Nullable<Text>,
        touched -> Integer,
        photo -> Nullable<Text>,
    }
}

/// Numbers that neither `f64` nor a JSON number in Rust holds.
#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
#[audited(store_changed_from, except_columns(touched), mask(ssn), exclude(pin))]
#[expect(dead_code, reason = "only its diffs are looked at")]
struct Item {
    id: i64,
    name: String,
}

fn everything() -> DiffOptions {
    DiffOptions::new()
        .expand_insert_fields()
        .expand_delete_fields()
}

const CREATE: &str = "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL, price numeric, ssn text, pin text,
    touched int NOT NULL DEFAULT 0, photo text)";

fn items() -> TestDb {
    let db = TestDb::new();
    db.create(CREATE);
    db.capture("items", Item::DEFINITION);
    db
}

/// A table that keeps no values before.
fn without_values_before() -> TestDb {
    let db = TestDb::new();
    db.create(CREATE);
    db.capture(
        "items",
        threadline::Definition::new("Item", &["id"])
            .mask(&["ssn"])
            .exclude(&["pin"])
            .except_columns(&["touched"]),
    );
    db
}

fn changes(db: &TestDb) -> Vec<Change<Item>> {
    Item::changes()
        .order(change::id)
        .load(&mut db.auditor())
        .unwrap()
}

/// The diffs of all changes as indented JSON, oldest first.
fn shown(db: &TestDb, options: DiffOptions) -> String {
    let diffs: Vec<_> = changes(db)
        .iter()
        .map(|change| change_diff(change, options))
        .collect();
    let ready: Vec<_> = diffs.iter().map(|diff| diff.json_ready()).collect();
    serde_json::to_string_pretty(&ready).unwrap()
}

/// A row that is written, changed and deleted.
fn life(db: &TestDb) {
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items VALUES (7, 'nut', 120.00, '123-45', '0000')",
    );
    execute(
        &mut app,
        "UPDATE items SET price = 12345678901234567890.120, ssn = '999-99', pin = '1111', touched = 1",
    );
    execute(&mut app, "UPDATE items SET ssn = NULL, name = 'bolt'");
    execute(&mut app, "DELETE FROM items");
}
