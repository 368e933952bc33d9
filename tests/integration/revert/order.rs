//! The order of statements, and what no order can do.

use threadline::{Decision, Definition, Step, StepKind};

use super::*;

fn captured(create: &str, tables: &[&str]) -> TestDb {
    let db = TestDb::new();
    db.create(create);
    for table in tables {
        db.capture(
            table,
            Definition::new("Model", &["id"]).store_changed_from(),
        );
    }
    db
}

fn reverted(db: &TestDb, tables: &[&str], sql: &str) -> RevertPlan {
    let before = state(db, tables);
    let plan = plan(db, work(db, sql));
    assert_eq!(plan.conflicts(), []);
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(state(db, tables), before);
    plan
}

#[test]
fn rows_of_one_table_that_refer_to_each_other() {
    let db = captured(
        "CREATE TABLE nodes (id int PRIMARY KEY, parent_id int REFERENCES nodes ON DELETE CASCADE)",
        &["nodes"],
    );
    execute(
        &mut db.app(),
        "INSERT INTO nodes VALUES (3, NULL), (1, 3), (2, 1), (4, 4)",
    );
    reverted(&db, &["nodes"], "DELETE FROM nodes");
    reverted(
        &db,
        &["nodes"],
        "INSERT INTO nodes VALUES (9, NULL), (8, 9), (7, 8)",
    );
}

/// Where two rows name each other, the constraints have to wait, and can.
#[test]
fn a_circle_of_deferrable_keys() {
    let db = captured(
        "CREATE TABLE heads (id int PRIMARY KEY, tail_id int NOT NULL);
         CREATE TABLE tails (id int PRIMARY KEY, head_id int NOT NULL REFERENCES heads DEFERRABLE);
         ALTER TABLE heads ADD CONSTRAINT \"a tail's\" FOREIGN KEY (tail_id) REFERENCES tails DEFERRABLE",
        &["heads", "tails"],
    );
    let both = "BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO heads VALUES (1, 1); INSERT INTO tails VALUES (1, 1); COMMIT";
    execute(&mut db.app(), both);
    let plan = reverted(
        &db,
        &["heads", "tails"],
        "BEGIN; SET CONSTRAINTS ALL DEFERRED; DELETE FROM heads; DELETE FROM tails; COMMIT",
    );
    assert!(
        plan.to_sql().starts_with("SET CONSTRAINTS "),
        "{}",
        plan.to_sql()
    );
}

#[test]
fn a_circle_of_keys_that_can_not_wait_is_named() {
    let db = captured(
        "CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, name text)",
        &["users"],
    );
    execute(
        &mut db.app(),
        "INSERT INTO users VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    let swap = "BEGIN; UPDATE users SET email = NULL WHERE id = 1; UPDATE users SET email = 'a' WHERE id = 2;
        UPDATE users SET email = 'b' WHERE id = 1; UPDATE users SET name = 'x' WHERE id = 3; COMMIT";
    let mut plan = plan(&db, work(&db, swap));
    let cyclic = ConflictKind::Cycle;
    assert_eq!(
        kinds(&plan),
        [
            ("public.users", r#""1""#.into(), &cyclic),
            ("public.users", r#""2""#.into(), &cyclic)
        ]
    );
    plan.decide_all(|_| Some(Decision::Skip)).unwrap();
    assert_eq!(plan.steps().len(), 1);
}

#[test]
fn a_key_that_passed_from_one_row_to_another_passes_back() {
    let db = captured(
        "CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE)",
        &["users"],
    );
    execute(&mut db.app(), "INSERT INTO users VALUES (1, 'a'), (2, 'b')");
    let plan = reverted(
        &db,
        &["users"],
        "BEGIN; UPDATE users SET email = 'c' WHERE id = 1; UPDATE users SET email = 'a' WHERE id = 2; COMMIT",
    );
    let keys: Vec<_> = plan.steps().iter().map(|step| &step.key["id"]).collect();
    assert_eq!(
        keys.iter().map(|key| key.as_json()).collect::<Vec<_>>(),
        [r#""2""#, r#""1""#]
    );
}

#[test]
fn identity_and_generated_columns() {
    let db = captured(
        "CREATE TABLE logs (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)",
        &["logs"],
    );
    execute(&mut db.app(), "INSERT INTO logs (n) VALUES (1), (2)");
    let plan = reverted(&db, &["logs"], "DELETE FROM logs WHERE n = 2");
    assert_eq!(plan.steps()[0].columns, ["id", "n"]);
    reverted(&db, &["logs"], "UPDATE logs SET n = 5");
}

#[test]
fn names_and_values_that_look_like_sql() {
    let db = TestDb::new();
    db.create(
        r#"CREATE SCHEMA "odd schema"; CREATE TABLE "odd schema"."a ""b'; --" ("the 'id'" text PRIMARY KEY, "x""y" text)"#,
    );
    db.capture(
        r#""odd schema"."a ""b'; --""#,
        Definition::new("Odd", &["the 'id'"]).store_changed_from(),
    );
    let table = r#""odd schema"."a ""b'; --""#;
    execute(
        &mut db.app(),
        &format!(r#"INSERT INTO {table} VALUES ('it''s \ $1 "', E'\\'' -- \n')"#),
    );
    let steps: Vec<Step> = [
        reverted(&db, &[], &format!(r#"UPDATE {table} SET "x""y" = NULL"#)),
        reverted(&db, &[], &format!("DELETE FROM {table}")),
        reverted(
            &db,
            &[],
            &format!(r"INSERT INTO {table} VALUES ('\', '''')"),
        ),
    ]
    .iter()
    .flat_map(|plan| plan.steps().to_vec())
    .collect();
    let kinds: Vec<_> = steps.iter().map(|step| step.kind).collect();
    assert_eq!(
        kinds,
        [StepKind::Update, StepKind::Insert, StepKind::Delete]
    );
    let now = rows(
        &mut db.owner(),
        &format!(r#"SELECT "the 'id'" AS id, "x""y" AS value FROM {table}"#),
    );
    assert_eq!(
        now,
        [serde_json::json!({"id": "it's \\ $1 \"", "value": "\\' -- \n"})]
    );
}

#[test]
fn a_trigger_that_swallows_the_write_is_an_error() {
    let db = captured("CREATE TABLE items (id int PRIMARY KEY, n int)", &["items"]);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 1)");
    let transaction = work(&db, "UPDATE items SET n = 2");
    execute(
        &mut db.owner(),
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER refuse BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let error = plan(&db, transaction)
        .apply(&mut db.reverter(), &context())
        .unwrap_err();
    assert!(
        matches!(&error, threadline::RevertError::Missed { rows: 0, .. }),
        "{error}"
    );
}

/// The update by the cascade is captured before the key change that it follows from.
#[test]
fn lines_that_were_captured_out_of_order() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE nodes (id int PRIMARY KEY, elder_id int REFERENCES nodes ON UPDATE CASCADE)",
    );
    db.capture(
        "nodes",
        Definition::new("Node", &["id"]).level(threadline::Level::Statement),
    );
    reverted(
        &db,
        &["nodes"],
        "DO 'BEGIN INSERT INTO nodes VALUES (2, 2); UPDATE nodes SET id = 3; END'",
    );
}

/// The nested update of row 2 is captured before the outer one.
#[test]
fn values_that_were_captured_out_of_order() {
    let db = captured("CREATE TABLE items (id int PRIMARY KEY, n int)", &["items"]);
    execute(
        &mut db.owner(),
        "CREATE FUNCTION nested() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN IF NEW.id = 1 AND NEW.n = 10 THEN UPDATE items SET n = 99 WHERE id = 2; END IF; RETURN NULL; END';
         CREATE TRIGGER nested AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION nested()",
    );
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 1), (2, 2)");
    reverted(&db, &["items"], "UPDATE items SET n = 10");
}

/// A row came and another one with the same email went, and an unrelated row went last: what came is undone first all the same.
/// Once somebody else has the email, there is nothing to be done.
fn passes_back_or_is_taken(create: &str, rows: &str, work_sql: &str, taker: &str) {
    let db = captured(create, &["users"]);
    execute(&mut db.app(), rows);
    reverted(&db, &["users"], work_sql);
    let transaction = work(&db, "DELETE FROM users WHERE id = 1");
    execute(&mut db.app(), taker);
    let plan = plan(&db, transaction);
    let [conflict] = plan.conflicts() else {
        panic!("{:?}", plan.conflicts())
    };
    let ConflictKind::KeyTaken { constraint, holder } = &conflict.kind else {
        panic!("{conflict}")
    };
    assert_eq!(constraint.as_deref(), Some("only_one"));
    assert_eq!(holder["id"].as_json(), r#""9""#);
}

const PASSED_ON: &str = "BEGIN; DELETE FROM users WHERE id = 1; INSERT INTO users VALUES (3, 'a'); DELETE FROM users WHERE id = 2; COMMIT";

#[test]
fn a_key_that_only_some_rows_have() {
    passes_back_or_is_taken(
        "CREATE TABLE users (id int PRIMARY KEY, email text, gone bool NOT NULL DEFAULT false);
         CREATE UNIQUE INDEX only_one ON users (email) WHERE NOT gone",
        "INSERT INTO users VALUES (1, 'a', false), (2, 'b', false), (4, 'a', true)",
        PASSED_ON,
        "INSERT INTO users VALUES (9, 'a')",
    );
}

#[test]
fn a_key_that_an_expression_makes() {
    passes_back_or_is_taken(
        "CREATE TABLE users (id int PRIMARY KEY, email text); CREATE UNIQUE INDEX only_one ON users (lower(email))",
        "INSERT INTO users VALUES (1, 'A'), (2, 'b')",
        PASSED_ON,
        "INSERT INTO users VALUES (9, 'a')",
    );
}

/// An index of the key's own column, whose values others may have.
#[test]
fn a_key_that_an_expression_makes_of_the_primary_one() {
    let db = captured(
        "CREATE TABLE users (id text PRIMARY KEY); CREATE UNIQUE INDEX only_one ON users (lower(id))",
        &["users"],
    );
    execute(&mut db.app(), "INSERT INTO users VALUES ('a'), ('b')");
    let transaction = work(&db, "DELETE FROM users WHERE id = 'a'");
    execute(&mut db.app(), "INSERT INTO users VALUES ('A')");
    let plan = plan(&db, transaction);
    assert!(
        matches!(plan.conflicts()[0].kind, ConflictKind::KeyTaken { .. }),
        "{:?}",
        plan.conflicts()
    );
}

#[test]
fn what_an_exclusion_constraint_excludes() {
    passes_back_or_is_taken(
        "CREATE TABLE users (id int PRIMARY KEY, stay int4range, CONSTRAINT only_one EXCLUDE USING gist (stay WITH &&))",
        "INSERT INTO users VALUES (1, '[1,5]'), (2, '[6,8]')",
        "BEGIN; DELETE FROM users WHERE id = 1; INSERT INTO users VALUES (3, '[3,4]'); DELETE FROM users WHERE id = 2; COMMIT",
        "INSERT INTO users VALUES (9, '[5,5]')",
    );
}

/// Each row takes the place of the one before it: they are put back one after the other, last first.
#[test]
fn places_that_moved_up_move_back() {
    let db = captured(
        "CREATE TABLE users (id int PRIMARY KEY, place int UNIQUE)",
        &["users"],
    );
    execute(
        &mut db.app(),
        "INSERT INTO users SELECT n, n FROM generate_series(1, 20) n",
    );
    let moved = (1..=20).map(|id| format!("UPDATE users SET place = place - 1 WHERE id = {id};"));
    let plan = reverted(
        &db,
        &["users"],
        &format!("BEGIN; {} COMMIT", moved.collect::<String>()),
    );
    assert_eq!(plan.statements().count(), 20);
}
