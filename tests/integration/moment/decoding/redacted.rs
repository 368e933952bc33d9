//! What the log has no value for.

use super::*;

diesel::table! { people (id) { id -> BigInt, name -> Text, ssn -> Nullable<Text>, pin -> Nullable<Integer>, secret -> Text, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = people)]
#[audited(store_changed_from, mask_placeholder = "***")]
struct Person {
    id: i64,
    name: String,
    #[audited(mask)]
    ssn: Option<String>,
    #[audited(exclude)]
    pin: Option<i32>,
    #[audited(mask)]
    secret: String,
}

diesel::table! { badges (id) { id -> BigInt, code -> Integer, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = badges)]
struct Badge {
    id: i64,
    #[audited(exclude, fill = 0)]
    code: i32,
}

#[test]
fn redacted_columns_are_what_history_says() {
    let db = TestDb::new();
    db.create("CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, ssn text, pin integer, secret text NOT NULL)");
    db.capture("people", Person::DEFINITION);
    execute(
        &mut db.app(),
        "INSERT INTO people VALUES (1, 'ada', '123-45', 1234, 'clear'), (2, 'bob', NULL, NULL, 'clear')",
    );
    let moment = clock(&mut db.app());
    execute(
        &mut db.app(),
        "UPDATE people SET name = 'changed' WHERE id = 1",
    );
    let_the_application_read_the_log(&db);
    for mut conn in [db.auditor(), db.app()] {
        for moment in [moment, clock(&mut db.app())] {
            let all = Person::all_as_of(moment)
                .order(people::id)
                .load(&mut conn)
                .unwrap();
            let history = [1, 2].map(|id| {
                Person::as_of(id, moment)
                    .get_result(&mut conn)
                    .unwrap()
                    .into_row()
                    .unwrap()
            });
            assert_eq!(all, history);
            assert_eq!(
                (all[0].ssn.as_deref(), all[0].pin, all[0].secret.as_str()),
                (None, None, "***")
            );
        }
    }
}

#[test]
fn a_models_fill_is_for_what_the_log_has_no_value_for() {
    let db = TestDb::new();
    db.create("CREATE TABLE badges (id bigint PRIMARY KEY, code integer NOT NULL)");
    db.capture("badges", Badge::DEFINITION);
    execute(&mut db.app(), "INSERT INTO badges VALUES (1, 77)");
    let moment = clock(&mut db.app());
    let badge = Badge { id: 1, code: 0 };
    assert_eq!(
        Badge::all_as_of(moment).load(&mut db.auditor()).unwrap(),
        [badge]
    );
}

/// Omitted values read as they do in history.
#[test]
fn values_too_large_for_the_log() {
    let db = TestDb::new();
    db.audited(
        "files",
        "CREATE TABLE files (id bigint PRIMARY KEY, body text NOT NULL)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO files VALUES (1, repeat('x', 2000000)), (2, 'small')",
    );
    let moment = clock(&mut db.app());
    execute(&mut db.app(), "UPDATE files SET body = 'smaller'");
    assert_eq!(
        table_at(&db, "files", moment),
        [
            json!({"id": 1, "body": "[OMITTED]"}),
            json!({"id": 2, "body": "small"})
        ]
    );
}
