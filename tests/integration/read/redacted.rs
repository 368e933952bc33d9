//! What redacted and omitted values read as.

use diesel::prelude::*;
use threadline::{AsOf, Snapshot, prelude::*, recorded};
use threadline_tests::{TestDb, execute};

diesel::table! {
    users (id) {
        id -> BigInt,
        name -> Text,
        ssn -> Nullable<Text>,
        token -> Text,
        pin -> Text,
        age -> Integer,
        bio -> Text,
        photo -> Nullable<Bytea>,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = users)]
#[audited(store_changed_from)]
struct User {
    id: i64,
    name: String,
    #[audited(mask)]
    ssn: Option<String>,
    #[audited(exclude)]
    token: String,
    #[audited(mask, fill = "****")]
    pin: String,
    #[audited(exclude, fill = -1)]
    age: i32,
    bio: String,
    photo: Option<Vec<u8>>,
}

/// The same table, and no fill for what `[REDACTED]` doesn't fit.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = users)]
#[audited(read_only)]
struct Pin {
    id: i64,
    pin: String,
}

fn users() -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, ssn text, token text NOT NULL, pin varchar(5) NOT NULL,
           age int NOT NULL, bio text NOT NULL DEFAULT '', photo bytea)",
    );
    db.capture("users", User::DEFINITION);
    execute(
        &mut db.app(),
        "INSERT INTO users VALUES (1, 'Ann', '123', 'secret', '12345', 30)",
    );
    db
}

fn ann() -> User {
    User {
        id: 1,
        name: "Ann".into(),
        ssn: None,
        token: "[REDACTED]".into(),
        pin: "****".into(),
        age: -1,
        bio: String::new(),
        photo: None,
    }
}

#[test]
fn history_names_what_it_redacted() {
    let db = users();
    let history = User::history(1).load(&mut db.auditor()).unwrap();
    assert_eq!(history[0].after(), Some(&ann()));
    assert_eq!(history[0].redacted, ["age", "pin", "ssn", "token"]);
    assert_eq!(history[0].omitted, Vec::<String>::new());
}

#[test]
fn as_of_names_what_it_redacted() {
    let db = users();
    let AsOf::Found { row, redacted, .. } = User::as_of(1, diesel::dsl::now)
        .get_result(&mut db.auditor())
        .unwrap()
    else {
        panic!()
    };
    assert_eq!(row, ann());
    assert_eq!(redacted, ["age", "pin", "ssn", "token"]);
}

#[test]
fn null_is_not_redacted() {
    let db = users();
    execute(&mut db.app(), "UPDATE users SET ssn = NULL");
    let history = User::history(1).load(&mut db.auditor()).unwrap();
    assert_eq!(history[0].redacted, ["age", "pin", "token"]);
    assert_eq!(history[1].redacted, ["age", "pin", "ssn", "token"]);
}

#[test]
fn the_deleted_row_is_redacted_too() {
    let db = users();
    execute(&mut db.app(), "DELETE FROM users");
    let history = User::history(1).load(&mut db.auditor()).unwrap();
    assert_eq!(history[0].deleted(), Some(&ann()));
    assert_eq!(history[0].redacted, ["age", "pin", "ssn", "token"]);
}

#[test]
fn a_placeholder_that_does_not_fit_spoils_the_row_and_names_the_column() {
    let db = users();
    let history = Pin::history(1).load(&mut db.auditor()).unwrap();
    let Snapshot::Undecodable(problem) = &history[0].snapshot else {
        panic!("{history:?}")
    };
    let problem = problem.to_string();
    assert!(problem.contains("pin"), "{problem}");
    assert!(!problem.contains("12345"), "{problem}");
}

#[test]
fn a_part_of_the_row_says_nothing_of_a_redacted_value() {
    let db = users();
    let part: Vec<(Option<String>, Option<String>)> = User::history(1)
        .select((recorded(users::ssn), recorded(users::name)))
        .load(&mut db.auditor())
        .unwrap();
    assert_eq!(part, [(None, Some("Ann".into()))]);
    let found = User::history(1)
        .filter(users::ssn.eq("[REDACTED]"))
        .load(&mut db.auditor())
        .unwrap();
    assert_eq!(found, []);
}

#[test]
fn values_recorded_before_a_column_was_redacted_are_what_they_were() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, ssn text, token text NOT NULL, pin varchar(5) NOT NULL,
           age int NOT NULL, bio text NOT NULL DEFAULT '', photo bytea)",
    );
    db.capture("users", threadline::Definition::new("User", &["id"]));
    execute(
        &mut db.app(),
        "INSERT INTO users VALUES (1, 'Ann', '123', 'secret', '12345', 30)",
    );
    db.capture("users", User::DEFINITION);
    execute(&mut db.app(), "UPDATE users SET name = 'Anna'");
    let history = User::history(1).load(&mut db.auditor()).unwrap();
    assert_eq!(
        history[1].after().map(|u| (u.ssn.as_deref(), u.age)),
        Some((Some("123"), 30))
    );
    assert_eq!(history[1].redacted, Vec::<String>::new());
    assert_eq!(history[0].redacted, ["age", "pin", "ssn", "token"]);
}

#[test]
fn omitted_values_are_named_and_stand_in() {
    let db = users();
    execute(
        &mut db.app(),
        "UPDATE users SET bio = repeat('b', 1100000), photo = decode(repeat('00', 1100000), 'hex')",
    );
    let history = User::history(1).load(&mut db.auditor()).unwrap();
    assert_eq!(history[0].omitted, ["bio", "photo"]);
    assert_eq!(
        history[0].after(),
        Some(&User {
            bio: "[OMITTED]".into(),
            ..ann()
        })
    );
    assert_eq!(history[0].redacted, ["age", "pin", "ssn", "token"]);
    assert_eq!(history[1].omitted, Vec::<String>::new());
}
