//! Every answer of `as_of`, and C33: it says so where it doesn't know.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use threadline::capture::{CapturePlan, Storage};
use threadline::{AsOf, Definition, prelude::*};
use threadline_tests::{TestDb, execute};

diesel::table! { items (id) { id -> BigInt, name -> Text, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
struct Item {
    id: i64,
    name: String,
}

const CREATE: &str = "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL)";

fn now(db: &TestDb) -> DateTime<Utc> {
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Timestamptz>(
        "clock_timestamp()",
    ))
    .get_result(&mut db.owner())
    .unwrap()
}

fn release(db: &TestDb) {
    let plan = CapturePlan::for_definition("items".parse().unwrap(), &Item::DEFINITION).unwrap();
    execute(&mut db.owner(), &plan.down_sql(&Storage::default()));
}

fn capture(db: &TestDb) {
    db.capture("items", Item::DEFINITION);
}

fn as_of(db: &TestDb, id: i64, moment: DateTime<Utc>) -> AsOf<Item> {
    Item::as_of(id, moment)
        .get_result(&mut db.auditor())
        .unwrap()
}

fn name_at(db: &TestDb, id: i64, moment: DateTime<Utc>) -> Option<String> {
    match as_of(db, id, moment) {
        AsOf::Found { row, .. } => Some(row.name),
        other => panic!("{other:?}"),
    }
}

#[test]
fn found_as_it_was_at_each_moment() {
    let db = TestDb::new();
    db.create(CREATE);
    capture(&db);
    let mut app = db.app();
    let mut moments = Vec::new();
    for name in ["a", "b", "c"] {
        execute(
            &mut app,
            &format!(
                "INSERT INTO items VALUES (1, '{name}') ON CONFLICT (id) DO UPDATE SET name = excluded.name"
            ),
        );
        moments.push((name, now(&db)));
    }
    for (name, moment) in moments {
        assert_eq!(name_at(&db, 1, moment).as_deref(), Some(name));
    }
}

#[test]
fn found_with_the_change_it_comes_from() {
    let db = TestDb::new();
    db.create(CREATE);
    capture(&db);
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'); UPDATE items SET name = 'b'",
    );
    let history = Item::history(1).load(&mut db.auditor()).unwrap();
    // A change counts from its own moment on, to the microsecond.
    for change in &history {
        let AsOf::Found {
            row,
            origin,
            redacted,
            ..
        } = as_of(&db, 1, change.captured_at)
        else {
            panic!("{change:?}");
        };
        assert_eq!(Some(&row), change.after());
        assert_eq!(
            (origin.change_id, origin.transaction_id, origin.captured_at),
            (change.id, change.transaction_id, change.captured_at)
        );
        assert_eq!(redacted, Vec::<String>::new());
    }
}

#[test]
fn deleted_by_which_change() {
    let db = TestDb::new();
    db.create(CREATE);
    capture(&db);
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    let alive = now(&db);
    execute(&mut app, "DELETE FROM items");
    let gone = now(&db);
    execute(&mut app, "INSERT INTO items VALUES (1, 'again')");
    let delete = Item::history(1).load(&mut db.auditor()).unwrap().remove(1);
    assert_eq!(name_at(&db, 1, alive).as_deref(), Some("a"));
    let AsOf::Deleted(origin) = as_of(&db, 1, gone) else {
        panic!()
    };
    assert_eq!(origin.change_id, delete.id);
    assert_eq!(name_at(&db, 1, now(&db)).as_deref(), Some("again"));
}

#[test]
fn truncated_counts_as_deleted() {
    let db = TestDb::new();
    db.create(CREATE);
    capture(&db);
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a'), (2, 'b')");
    execute(&mut app, "DELETE FROM items WHERE id = 2");
    execute(&mut app, "TRUNCATE items");
    let truncated = now(&db);
    execute(&mut app, "INSERT INTO items VALUES (1, 'again')");
    assert!(matches!(as_of(&db, 1, truncated), AsOf::Deleted(_)));
    assert!(matches!(as_of(&db, 2, truncated), AsOf::Deleted(_)));
    assert_eq!(as_of(&db, 3, truncated), AsOf::NotYetCreated);
    assert_eq!(name_at(&db, 1, now(&db)).as_deref(), Some("again"));
    // And it shows in the history of the rows that were alive.
    let ops = |id| -> Vec<_> {
        Item::history(id)
            .load(&mut db.auditor())
            .unwrap()
            .iter()
            .map(|c| c.op.as_str())
            .collect()
    };
    assert_eq!(ops(1), ["insert", "truncate", "insert"]);
    assert_eq!(ops(2), ["delete", "insert"]);
    assert_eq!(ops(3), Vec::<&str>::new());
}

#[test]
fn not_yet_created_before_the_insert_and_for_rows_that_never_were() {
    let db = TestDb::new();
    db.create(CREATE);
    capture(&db);
    let before = now(&db);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    assert_eq!(as_of(&db, 1, before), AsOf::NotYetCreated);
    assert_eq!(as_of(&db, 2, now(&db)), AsOf::NotYetCreated);
}

#[test]
fn c33_unknown_before_capture_began() {
    let db = TestDb::new();
    db.create(CREATE);
    let before = now(&db);
    capture(&db);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    // Nobody watched: the row may have been there, and been deleted.
    assert_eq!(as_of(&db, 1, before), AsOf::Unknown);
    assert_eq!(as_of(&db, 2, before), AsOf::Unknown);
}

#[test]
fn c33_rows_from_before_capture_are_unknown_until_they_change() {
    let db = TestDb::new();
    db.create(&format!(
        "{CREATE}; INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c')"
    ));
    capture(&db);
    let captured = now(&db);
    assert_eq!(Item::history(1).load(&mut db.auditor()).unwrap(), []);
    assert_eq!(as_of(&db, 1, captured), AsOf::Unknown);
    assert_eq!(
        as_of(&db, 9, captured),
        AsOf::Unknown,
        "who knows which rows there are"
    );
    execute(
        &mut db.app(),
        "UPDATE items SET name = 'x' WHERE id = 1; DELETE FROM items WHERE id = 2; INSERT INTO items VALUES (4, 'd')",
    );
    let written = now(&db);
    assert_eq!(name_at(&db, 1, written).as_deref(), Some("x"));
    assert!(matches!(as_of(&db, 2, written), AsOf::Deleted(_)));
    assert_eq!(as_of(&db, 3, written), AsOf::Unknown);
    // An insert proves that there was no row in between.
    assert_eq!(as_of(&db, 4, captured), AsOf::NotYetCreated);
    // An update and a delete prove that there was one, but not which.
    assert_eq!(as_of(&db, 1, captured), AsOf::Unknown);
    assert_eq!(as_of(&db, 2, captured), AsOf::Unknown);
}

#[test]
fn c33_unknown_in_a_gap_and_after_it_until_the_next_change() {
    let db = TestDb::new();
    db.create(CREATE);
    capture(&db);
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a'), (2, 'b')");
    let before = now(&db);
    release(&db);
    execute(
        &mut app,
        "UPDATE items SET name = 'unseen' WHERE id = 1; INSERT INTO items VALUES (3, 'unseen')",
    );
    let during = now(&db);
    capture(&db);
    let after = now(&db);
    execute(
        &mut app,
        "UPDATE items SET name = 'seen' WHERE id = 1; INSERT INTO items VALUES (4, 'd')",
    );
    let later = now(&db);

    assert_eq!(name_at(&db, 1, before).as_deref(), Some("a"));
    for moment in [during, after] {
        assert_eq!(as_of(&db, 1, moment), AsOf::Unknown);
        assert_eq!(as_of(&db, 2, moment), AsOf::Unknown);
        assert_eq!(as_of(&db, 3, moment), AsOf::Unknown);
    }
    assert_eq!(name_at(&db, 1, later).as_deref(), Some("seen"));
    assert_eq!(
        as_of(&db, 2, later),
        AsOf::Unknown,
        "it may have changed unseen"
    );
    assert_eq!(as_of(&db, 3, later), AsOf::Unknown);
    assert_eq!(
        as_of(&db, 4, later),
        AsOf::Found {
            row: Item {
                id: 4,
                name: "d".into()
            },
            origin: origin_of(&db, 4),
            redacted: vec![]
        }
    );
    // Its insert proves that it wasn't there when capture came back, and nothing of the time before.
    assert_eq!(as_of(&db, 4, after), AsOf::NotYetCreated);
    assert_eq!(as_of(&db, 4, during), AsOf::Unknown);
    assert_eq!(as_of(&db, 4, before), AsOf::Unknown);
}

fn origin_of(db: &TestDb, id: i64) -> threadline::Origin {
    match as_of(db, id, now(db)) {
        AsOf::Found { origin, .. } => origin,
        other => panic!("{other:?}"),
    }
}

#[test]
fn c33_unknown_while_released() {
    let db = TestDb::new();
    db.create(CREATE);
    capture(&db);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    let before = now(&db);
    release(&db);
    assert_eq!(as_of(&db, 1, now(&db)), AsOf::Unknown);
    assert_eq!(as_of(&db, 2, now(&db)), AsOf::Unknown);
    assert_eq!(name_at(&db, 1, before).as_deref(), Some("a"));
}

#[test]
fn c33_two_gaps_are_both_unknown_and_what_lies_between_them_is_known() {
    let db = TestDb::new();
    db.create(CREATE);
    capture(&db);
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    let mut gaps = Vec::new();
    let mut known = Vec::new();
    for name in ["b", "c"] {
        release(&db);
        gaps.push(now(&db));
        capture(&db);
        execute(&mut app, &format!("UPDATE items SET name = '{name}'"));
        known.push((now(&db), name));
    }
    for gap in gaps {
        assert_eq!(as_of(&db, 1, gap), AsOf::Unknown);
    }
    for (moment, name) in known {
        assert_eq!(name_at(&db, 1, moment).as_deref(), Some(name));
    }
}

#[test]
fn undecodable_is_an_answer_of_its_own() {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text)");
    capture(&db);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, NULL)");
    let AsOf::Undecodable { problem, origin } = as_of(&db, 1, now(&db)) else {
        panic!()
    };
    assert!(problem.to_string().contains("column name"), "{problem}");
    assert_eq!(
        origin.change_id,
        Item::history(1).load(&mut db.auditor()).unwrap()[0].id
    );
}

#[test]
fn the_moment_may_be_an_expression() {
    let db = TestDb::new();
    db.create(CREATE);
    capture(&db);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    let mut conn = db.auditor();
    let at_once = Item::as_of(1, diesel::dsl::now)
        .get_result(&mut conn)
        .unwrap();
    assert!(matches!(at_once, AsOf::Found { .. }));
    let yesterday = Item::as_of(
        1,
        diesel::dsl::sql::<diesel::sql_types::Timestamptz>("now() - interval '1 day'"),
    )
    .get_result(&mut conn)
    .unwrap();
    assert_eq!(yesterday, AsOf::Unknown);
}

#[test]
fn a_moment_to_come_is_now() {
    let db = TestDb::new();
    db.create(CREATE);
    capture(&db);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    assert_eq!(
        name_at(&db, 1, now(&db) + chrono::TimeDelta::days(1)).as_deref(),
        Some("a")
    );
}

/// A definition by hand reads as a derived one does.
#[test]
fn the_key_is_checked() {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint, name text NOT NULL, PRIMARY KEY (id, name))");
    db.capture("items", Definition::new("Item", &["id", "name"]));
    let error = Item::as_of(1, diesel::dsl::now)
        .get_result(&mut db.auditor())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the key of table public.items is {id,name}, not {id}"),
        "{error}"
    );
}
