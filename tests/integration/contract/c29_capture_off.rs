//! C29: capture is switched off in one transaction, by those who may, and the gap stays visible.

use diesel::prelude::*;
use serde_json::json;
use threadline::{AsOf, Level, prelude::*};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

use super::log::lines;

diesel::table! {
    items (id) { id -> BigInt, name -> Nullable<Text>, }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
#[audited(store_changed_from)]
struct Item {
    id: i64,
    name: Option<String>,
}

/// Row 1, captured.
fn items(level: Level) -> TestDb {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text)");
    db.capture("items", Item::DEFINITION.level(level));
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    db
}

/// A member of `threadline_bypass` that may write to the table.
fn operator(db: &TestDb) -> PgConnection {
    execute(
        &mut db.owner(),
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO tl_operator;
         REVOKE ALL ON audit_tables, audit_transactions, audit_changes, audit_actions, audit_commits FROM tl_operator",
    );
    PgConnection::establish(&db.url("tl_operator")).unwrap()
}

const OFF: &str = "SET LOCAL threadline.capture = 'off'";

#[test]
fn c29_others_are_refused() {
    let db = items(Level::Row);
    for scope in ["LOCAL ", ""] {
        let mut app = db.app();
        execute(
            &mut app,
            &format!("BEGIN; SET {scope}threadline.capture = 'off'"),
        );
        let refused = try_execute(&mut app, "UPDATE items SET name = 'b'").unwrap_err();
        assert!(
            refused.contains("tl_app may not switch off the capture of public.items"),
            "{refused}"
        );
        assert!(
            refused.contains("GRANT threadline_bypass TO tl_app"),
            "{refused}"
        );
        execute(&mut app, "ROLLBACK");
    }
    assert_eq!(lines(&db, "items"), ["insert 1"]);
    assert_eq!(value(&mut db.app(), "SELECT name FROM items"), "a");
}

/// The one who logged in counts: acting as a member is not being one, and a member that acts as another one is.
#[test]
fn c29_the_role_in_force_does_not_count() {
    let db = items(Level::Row);
    let mut superuser = db.superuser();
    // Who may act as anyone is no member of the role unless it is a superuser; the application isn't.
    execute(&mut superuser, "SET SESSION AUTHORIZATION tl_app");
    execute(&mut superuser, &format!("BEGIN; {OFF}"));
    assert!(try_execute(&mut superuser, "DELETE FROM items").is_err());
    let mut operator = operator(&db);
    execute(
        &mut operator,
        &format!("BEGIN; {OFF}; SET LOCAL ROLE tl_app; UPDATE items SET name = 'b'; COMMIT"),
    );
    assert_eq!(lines(&db, "items"), ["insert 1"]);
}

#[test]
fn c29_the_gap_is_recorded_and_named() {
    for level in [Level::Row, Level::Statement] {
        let db = items(level);
        let mut operator = operator(&db);
        execute(&mut operator, &format!("BEGIN; {OFF}"));
        for statement in [
            "UPDATE items SET name = 'b'",
            "INSERT INTO items VALUES (2, 'c')",
            "DELETE FROM items WHERE id = 2",
            "TRUNCATE items",
            "INSERT INTO items VALUES (1, 'd')",
        ] {
            execute(&mut operator, statement);
        }
        execute(&mut operator, "COMMIT");
        assert_eq!(lines(&db, "items"), ["insert 1"]);
        let noted = rows(
            &mut db.auditor(),
            "SELECT a.name, a.comment, t.session_user_name AS who, s.committed_at IS NOT NULL AS sealed
             FROM audit_actions a JOIN audit_transactions t ON t.id = a.transaction_id AND t.action_id = a.id
             LEFT JOIN audit_commits s ON s.transaction_id = t.id",
        );
        assert_eq!(
            noted,
            [
                json!({"name": "threadline.capture_off", "comment": "public.items", "who": "tl_operator", "sealed": true})
            ]
        );
        let gap = rows(
            &mut db.auditor(),
            "SELECT cardinality(gaps) AS gaps, upper_inf(gaps[1]) AS open, upper(gaps[1]) > lower(gaps[1]) AS long, horizon FROM audit_tables",
        );
        assert_eq!(
            gap,
            [json!({"gaps": 1, "open": false, "long": true, "horizon": null})]
        );
    }
}

#[test]
fn c29_as_of_does_not_know_until_the_row_is_written_again() {
    let db = items(Level::Row);
    let mut auditor = db.auditor();
    let before = Item::history(1).load(&mut auditor).unwrap()[0].captured_at;
    execute(
        &mut operator(&db),
        &format!("BEGIN; {OFF}; UPDATE items SET name = 'unseen'; COMMIT"),
    );
    let now = diesel::dsl::now;
    let then = Item::as_of(1, before).get_result(&mut auditor).unwrap();
    assert_eq!(then.into_row().unwrap().name.as_deref(), Some("a"));
    for id in [1, 2] {
        let after = Item::as_of(id, now).get_result(&mut auditor).unwrap();
        assert!(matches!(after, AsOf::Unknown), "{after:?}");
    }
    execute(&mut db.app(), "UPDATE items SET name = 'seen'");
    let after = Item::as_of(1, now).get_result(&mut auditor).unwrap();
    assert_eq!(after.into_row().unwrap().name.as_deref(), Some("seen"));
    assert_eq!(lines(&db, "items"), ["insert 1", "update 1"]);
}

#[test]
fn c29_a_rolled_back_gap_is_none() {
    let db = items(Level::Row);
    execute(
        &mut operator(&db),
        &format!("BEGIN; {OFF}; DELETE FROM items; ROLLBACK"),
    );
    let whole = "SELECT horizon IS NOT NULL AND gaps = '{}' FROM audit_tables";
    assert_eq!(value(&mut db.auditor(), whole), true);
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_actions"),
        0
    );
}

#[test]
fn c29_only_the_tables_that_were_written_have_a_gap() {
    let db = items(Level::Row);
    db.audited("others", "CREATE TABLE others (id bigint PRIMARY KEY)");
    execute(
        &mut operator(&db),
        &format!(
            "BEGIN; {OFF}; DELETE FROM items; RESET threadline.capture; INSERT INTO others VALUES (1); COMMIT"
        ),
    );
    let with_gaps = "SELECT jsonb_agg(table_name) FROM audit_tables WHERE gaps <> '{}'";
    assert_eq!(value(&mut db.auditor(), with_gaps), json!(["items"]));
    assert_eq!(lines(&db, "others"), ["insert 1"]);
}
