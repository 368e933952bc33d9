//! Changes by field and value.

mod equality;
mod plans;

use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline::{Definition, Op, change, prelude::*, where_changed};
use threadline_tests::{TestDb, execute, rows};

diesel::table! {
    users (id) {
        id -> BigInt,
        email -> Nullable<Text>,
        name -> Text,
        ssn -> Nullable<Text>,
        bio -> Nullable<Text>,
    }
}

#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = users)]
#[audited(read_only)]
#[expect(dead_code, reason = "only its changes are looked at")]
struct User {
    id: i64,
    #[audited(formerly = "mail")]
    email: Option<String>,
}

const CREATE: &str = "CREATE TABLE users (id bigint PRIMARY KEY, email text, name text NOT NULL DEFAULT '', ssn text, bio text)";

fn users(definition: Definition) -> TestDb {
    let db = TestDb::new();
    db.create(CREATE);
    db.capture("users", definition);
    db
}

fn plain() -> Definition {
    Definition::new("User", &["id"])
}

/// The operations that a condition finds, oldest first.
macro_rules! found {
    ($db:expr, $condition:expr) => {
        User::changes()
            .filter($condition)
            .order(change::id)
            .select(change::op)
            .load::<Op>(&mut $db.auditor())
            .unwrap()
    };
}

/// An address that comes, goes and comes back, and a row that goes with it.
fn moves(db: &TestDb) {
    let mut app = db.app();
    for sql in [
        "INSERT INTO users (id, email) VALUES (1, 'a@x')",
        "UPDATE users SET name = 'Ann'",
        "UPDATE users SET email = 'b@x'",
        "UPDATE users SET email = NULL",
        "UPDATE users SET email = 'a@x'",
        "DELETE FROM users",
    ] {
        execute(&mut app, sql);
    }
}

/// The same whether the change has the value before or earlier history.
#[test]
fn by_the_value_before_and_after() {
    for definition in [plain(), plain().store_changed_from()] {
        let db = users(definition);
        moves(&db);
        let email = || where_changed(users::email);
        assert_eq!(found!(db, email()), [Op::Update; 3]);
        assert_eq!(found!(db, email().to("a@x")), [Op::Insert, Op::Update]);
        assert_eq!(found!(db, email().from("a@x")), [Op::Update, Op::Delete]);
        assert_eq!(found!(db, email().from("a@x").to("b@x")), [Op::Update]);
        assert_eq!(found!(db, email().to("b@x").from("a@x")), [Op::Update]);
        assert_eq!(found!(db, email().from("b@x").to("a@x")), []);
        assert_eq!(
            found!(db, email().had("a@x")),
            [Op::Insert, Op::Update, Op::Update, Op::Delete]
        );
        assert_eq!(found!(db, email().to(None::<String>)), [Op::Update]);
        assert_eq!(found!(db, email().from(None::<String>)), [Op::Update]);
        assert_eq!(found!(db, email().had("c@x")), []);
    }
}

#[test]
fn it_composes_with_the_rest_of_a_query() {
    let db = users(plain());
    moves(&db);
    let condition = where_changed(users::email)
        .to("a@x")
        .and(change::op.eq(Op::Update))
        .or(where_changed(users::name).to("Ann"));
    assert_eq!(found!(db, condition), [Op::Update, Op::Update]);
    let history = User::history(1)
        .filter(where_changed(users::email).had("b@x"))
        .into_boxed()
        .load(&mut db.auditor())
        .unwrap();
    assert_eq!(history.len(), 2);
    let none = User::history(2)
        .filter(where_changed(users::email).had("b@x"))
        .load(&mut db.auditor())
        .unwrap();
    assert_eq!(none.len(), 0);
}

#[tokio::test]
async fn it_is_loaded_asynchronously_too() {
    let db = users(plain());
    moves(&db);
    let mut conn = AsyncPgConnection::establish(&db.url("tl_auditor"))
        .await
        .unwrap();
    let query = User::changes().filter(where_changed(users::email).had("b@x"));
    let changes = diesel_async::RunQueryDsl::load(query, &mut conn)
        .await
        .unwrap();
    assert_eq!(changes.len(), 2);
}

#[test]
fn redacted_values_never_match() {
    let db = users(
        plain()
            .store_changed_from()
            .mask(&["ssn"])
            .exclude(&["bio"]),
    );
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO users (id, email, ssn, bio) VALUES (1, '[REDACTED]', '123', '456')",
    );
    execute(
        &mut app,
        "UPDATE users SET ssn = '789', bio = '0', name = 'n'",
    );
    execute(&mut app, "DELETE FROM users");
    for value in ["123", "789", "[REDACTED]"] {
        assert_eq!(found!(db, where_changed(users::ssn).had(value)), []);
        assert_eq!(found!(db, where_changed(users::bio).had(value)), []);
    }
    // That there was a change is no secret, and a value that only looks like a placeholder is one.
    assert_eq!(found!(db, where_changed(users::ssn)), [Op::Update]);
    assert_eq!(
        found!(db, where_changed(users::email).had("[REDACTED]")),
        [Op::Insert, Op::Delete]
    );
}

#[test]
fn a_renamed_column_is_found_under_its_former_name() {
    let db = TestDb::new();
    db.create("CREATE TABLE users (id bigint PRIMARY KEY, mail text, name text NOT NULL DEFAULT '', ssn text, bio text)");
    db.capture("users", plain());
    execute(
        &mut db.app(),
        "INSERT INTO users (id, mail) VALUES (1, 'a@x'); UPDATE users SET mail = 'b@x'",
    );
    db.create("ALTER TABLE users RENAME mail TO email");
    db.capture("users", plain().columns_formerly(&[("email", "mail")]));
    execute(&mut db.app(), "UPDATE users SET email = 'c@x'");
    let email = || where_changed(users::email);
    assert_eq!(found!(db, email()), [Op::Update, Op::Update]);
    assert_eq!(found!(db, email().had("a@x")), [Op::Insert, Op::Update]);
    assert_eq!(found!(db, email().from("b@x").to("c@x")), [Op::Update]);
}
