//! C27: a malformed `threadline.actor_ref` is refused, by name and with the expected form.

use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::json;
use threadline_tests::{TestDb, execute, try_execute, value};

fn items() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, n bigint)",
    );
    db
}

fn set(conn: &mut PgConnection, actor: &str) {
    diesel::sql_query("SELECT set_config('threadline.actor_ref', $1, true)")
        .bind::<Text, _>(actor)
        .execute(conn)
        .unwrap();
}

/// What a write says with this actor; all of it is rolled back.
fn write_with(conn: &mut PgConnection, actor: &str) -> Result<(), String> {
    let mut outcome = Ok(());
    conn.test_transaction::<_, diesel::result::Error, _>(|conn| {
        set(conn, actor);
        outcome = try_execute(conn, "INSERT INTO items VALUES (1, 1)");
        Ok(())
    });
    outcome
}

fn assert_refused(app: &mut PgConnection, actor: &str) {
    let shown: String = actor.chars().take(60).collect();
    let error = write_with(app, actor).expect_err(&shown);
    assert!(error.contains("threadline.actor_ref"), "{shown}: {error}");
    assert!(
        error.contains(r#"Expected {"type": "user", "id": "42"}"#),
        "{shown}: {error}"
    );
}

macro_rules! refused {
    ($($name:ident: $actor:expr;)*) => { $(
        #[test]
        fn $name() {
            assert_refused(&mut items().app(), &$actor);
        }
    )* };
}

refused! {
    c27_text_that_is_no_json_is_refused: "user:42";
    c27_broken_json_is_refused: r#"{"type": "user", "id": "42""#;
    c27_blank_text_is_refused: " ";
    c27_json_null_is_refused: "null";
    c27_a_json_string_is_refused: r#""user:42""#;
    c27_a_json_number_is_refused: "42";
    c27_a_json_list_is_refused: r#"[{"type": "user", "id": "42"}]"#;
    c27_an_empty_object_is_refused: "{}";
    c27_an_actor_without_a_type_is_refused: r#"{"id": "42"}"#;
    c27_an_actor_of_an_unknown_type_is_refused: r#"{"type": "root", "id": "42"}"#;
    c27_a_type_in_capitals_is_refused: r#"{"type": "User", "id": "42"}"#;
    c27_a_type_that_is_no_text_is_refused: r#"{"type": 1, "id": "42"}"#;
    c27_an_actor_without_an_id_is_refused: r#"{"type": "user"}"#;
    c27_an_id_of_null_is_refused: r#"{"type": "user", "id": null}"#;
    c27_an_id_that_is_a_number_is_refused: r#"{"type": "user", "id": 42}"#;
    c27_an_empty_id_is_refused: r#"{"type": "user", "id": ""}"#;
    c27_an_id_of_256_characters_is_refused: json!({"type": "user", "id": "x".repeat(256)}).to_string();
    c27_an_id_with_a_line_break_is_refused: r#"{"type": "user", "id": "a\nb"}"#;
    c27_an_id_with_a_nul_is_refused: r#"{"type": "user", "id": "a\u0000b"}"#;
    c27_half_a_surrogate_pair_is_refused: r#"{"type": "user", "id": "\ud83d"}"#;
    c27_a_further_field_is_refused: r#"{"type": "user", "id": "42", "name": "Ann"}"#;
    c27_an_anonymous_actor_with_an_id_is_refused: r#"{"type": "anonymous", "id": "42"}"#;
    c27_json_too_deep_to_parse_is_refused: "[".repeat(200_000);
}

#[test]
fn c27_the_limits_themselves_are_accepted() {
    let mut app = items().app();
    for actor in [
        json!({"type": "user", "id": "😀".repeat(255)}).to_string(),
        r#"{"type": "anonymous"}"#.to_owned(),
        r#"{"type": "anonymous", "id": null}"#.to_owned(),
        r#" { "id" : "42" , "type" : "system" } "#.to_owned(),
        String::new(),
    ] {
        write_with(&mut app, &actor).expect(&actor);
    }
}

#[test]
fn c27_a_malformed_actor_is_refused_after_a_good_one_too() {
    let db = items();
    let mut app = db.app();
    app.test_transaction::<_, diesel::result::Error, _>(|app| {
        set(app, r#"{"type": "user", "id": "42"}"#);
        execute(app, "INSERT INTO items VALUES (1, 1)");
        set(app, "user:42");
        let error = try_execute(app, "UPDATE items SET n = 2").unwrap_err();
        assert!(error.contains("threadline.actor_ref"), "{error}");
        Ok(())
    });
}

#[test]
fn c27_a_refused_write_leaves_neither_row_nor_change() {
    let db = items();
    try_execute(
        &mut db.app(),
        "SELECT set_config('threadline.actor_ref', 'nobody', true); INSERT INTO items VALUES (1, 1)",
    )
    .unwrap_err();
    assert_eq!(
        value(&mut db.owner(), "SELECT count(*) FROM items"),
        json!(0)
    );
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_changes"),
        json!(0)
    );
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_transactions"),
        json!(0)
    );
}
