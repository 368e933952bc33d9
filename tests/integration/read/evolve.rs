//! Tables change, and their history stays readable.

use diesel::prelude::*;
use threadline::{AsOf, Snapshot, prelude::*};
use threadline_tests::{TestDb, execute};

diesel::table! { items (id) { id -> BigInt, name -> Text, } }
diesel::table! {
    #[sql_name = "items"]
    wider (id) { id -> BigInt, name -> Text, level -> Integer, label -> Text, extra -> Nullable<Jsonb>, }
}
diesel::table! { users (uid) { uid -> BigInt, full_name -> Text, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
struct Item {
    id: i64,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = wider)]
struct Wider {
    id: i64,
    name: String,
    level: i32,
    label: String,
    extra: Option<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = wider)]
struct Filled {
    id: i64,
    name: String,
    #[audited(fill = 7)]
    level: i32,
    #[audited(fill = "it's \"none\"")]
    label: String,
}

fn items() -> TestDb {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL)");
    db.capture("items", Item::DEFINITION);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    db
}

const WIDEN: &str = "ALTER TABLE items ADD COLUMN level int NOT NULL DEFAULT 5, ADD COLUMN label text NOT NULL DEFAULT 'it''s \"new\"', ADD COLUMN extra jsonb DEFAULT '{\"a\": [1]}'";

fn widened() -> Wider {
    Wider {
        id: 1,
        name: "a".into(),
        level: 5,
        label: "it's \"new\"".into(),
        extra: Some(serde_json::json!({"a": [1]})),
    }
}

#[test]
fn added_columns_have_the_value_that_existing_rows_got() {
    let db = items();
    execute(&mut db.owner(), WIDEN);
    let mut conn = db.auditor();
    assert_eq!(
        Wider::history(1).load(&mut conn).unwrap()[0].after(),
        Some(&widened())
    );
    let row = Wider::as_of(1, diesel::dsl::now)
        .get_result(&mut conn)
        .unwrap()
        .into_row();
    assert_eq!(row, Some(widened()));
    // The old model doesn't notice.
    assert_eq!(
        Item::history(1).load(&mut conn).unwrap()[0].after(),
        Some(&Item {
            id: 1,
            name: "a".into()
        })
    );
    // And the next change has them as they are.
    execute(&mut db.app(), "UPDATE items SET level = 6, extra = NULL");
    let history = Wider::history(1).load(&mut conn).unwrap();
    assert_eq!(
        history[0].after(),
        Some(&Wider {
            level: 6,
            extra: None,
            ..widened()
        })
    );
    assert_eq!(history[1].after(), Some(&widened()));
}

#[test]
fn added_columns_keep_their_value_through_a_rewrite_once_a_migration_noted_it() {
    let db = items();
    execute(&mut db.owner(), WIDEN);
    db.capture("items", Wider::DEFINITION);
    execute(&mut db.owner(), "VACUUM FULL items");
    let forgotten = threadline_tests::value(
        &mut db.owner(),
        "SELECT bool_or(atthasmissing) FROM pg_attribute WHERE attrelid = 'items'::regclass",
    );
    assert_eq!(forgotten, serde_json::json!(false));
    assert_eq!(
        Wider::history(1).load(&mut db.auditor()).unwrap()[0].after(),
        Some(&widened())
    );
}

#[test]
fn added_columns_that_nobody_noted_are_undecodable_after_a_rewrite() {
    let db = items();
    execute(&mut db.owner(), WIDEN);
    execute(&mut db.owner(), "VACUUM FULL items");
    let history = Wider::history(1).load(&mut db.auditor()).unwrap();
    let Snapshot::Undecodable(problem) = &history[0].snapshot else {
        panic!("{history:?}")
    };
    let problem = problem.to_string();
    assert!(
        problem.starts_with("column level: no value, and the model needs one; "),
        "{problem}"
    );
}

#[test]
fn fill_stands_in_where_the_log_has_no_value() {
    let db = items();
    execute(&mut db.owner(), WIDEN);
    execute(&mut db.owner(), "VACUUM FULL items");
    let history = Filled::history(1).load(&mut db.auditor()).unwrap();
    let filled = Filled {
        id: 1,
        name: "a".into(),
        level: 7,
        label: "it's \"none\"".into(),
    };
    assert_eq!(history[0].after(), Some(&filled));
    let row = Filled::as_of(1, diesel::dsl::now)
        .get_result(&mut db.auditor())
        .unwrap()
        .into_row();
    assert_eq!(row, Some(filled));
}

#[test]
fn fill_leaves_what_the_log_has() {
    let db = items();
    execute(&mut db.owner(), WIDEN);
    execute(&mut db.app(), "UPDATE items SET name = 'b'");
    let history = Filled::history(1).load(&mut db.auditor()).unwrap();
    assert_eq!(
        history[0]
            .after()
            .map(|row| (row.level, row.label.as_str())),
        Some((5, "it's \"new\""))
    );
}

#[test]
fn dropped_columns_do_no_harm() {
    let db = items();
    execute(
        &mut db.owner(),
        "ALTER TABLE items ADD COLUMN gone text DEFAULT 'x'",
    );
    execute(&mut db.app(), "UPDATE items SET gone = 'y'");
    execute(&mut db.owner(), "ALTER TABLE items DROP COLUMN gone");
    execute(&mut db.app(), "UPDATE items SET name = 'b'");
    let names: Vec<_> = Item::history(1)
        .load(&mut db.auditor())
        .unwrap()
        .iter()
        .map(|c| c.after().unwrap().name.clone())
        .collect();
    assert_eq!(names, ["b", "a", "a"]);
}

mod formerly {
    use super::*;

    diesel::table! { people (id) { id -> BigInt, name -> Text, } }

    #[derive(Debug, Queryable, Selectable, Audited)]
    #[diesel(table_name = people)]
    #[audited(store_changed_from)]
    #[expect(dead_code, reason = "only its definition is used")]
    struct Person {
        id: i64,
        name: String,
    }

    #[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
    #[diesel(table_name = users, primary_key(uid))]
    #[audited(store_changed_from, formerly = "people")]
    struct User {
        #[audited(formerly = "id")]
        uid: i64,
        #[audited(formerly = "name")]
        full_name: String,
    }

    fn renamed() -> TestDb {
        let db = TestDb::new();
        db.create("CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL)");
        db.capture("people", Person::DEFINITION);
        execute(
            &mut db.app(),
            "INSERT INTO people VALUES (1, 'Ann'), (2, 'Bob')",
        );
        db.create("ALTER TABLE people RENAME TO users; ALTER TABLE users RENAME COLUMN id TO uid; ALTER TABLE users RENAME COLUMN name TO full_name");
        db.capture("users", User::DEFINITION);
        execute(
            &mut db.app(),
            "UPDATE users SET full_name = 'Anna' WHERE uid = 1; DELETE FROM users WHERE uid = 2",
        );
        db
    }

    fn user(uid: i64, name: &str) -> User {
        User {
            uid,
            full_name: name.into(),
        }
    }

    #[test]
    fn history_crosses_the_renames_of_table_key_and_column() {
        let db = renamed();
        let history = User::history(1).load(&mut db.auditor()).unwrap();
        assert_eq!(
            history.iter().map(|c| c.after()).collect::<Vec<_>>(),
            [Some(&user(1, "Anna")), Some(&user(1, "Ann"))]
        );
    }

    #[test]
    fn as_of_crosses_the_renames() {
        let db = renamed();
        let history = User::history(1).load(&mut db.auditor()).unwrap();
        let row = User::as_of(1, history[1].captured_at)
            .get_result(&mut db.auditor())
            .unwrap()
            .into_row();
        assert_eq!(row, Some(user(1, "Ann")));
        assert!(matches!(
            User::as_of(2, diesel::dsl::now)
                .get_result(&mut db.auditor())
                .unwrap(),
            AsOf::Deleted(_)
        ));
    }

    #[test]
    fn a_delete_after_the_rename_shows_the_row_from_before() {
        let db = renamed();
        let history = User::history(2).load(&mut db.auditor()).unwrap();
        assert_eq!(history[0].deleted(), Some(&user(2, "Bob")));
        assert_eq!(history[1].after(), Some(&user(2, "Bob")));
    }
}
