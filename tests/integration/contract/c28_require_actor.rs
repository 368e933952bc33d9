//! C28: a table can require an actor.

use diesel::prelude::*;
use serde_json::json;
use threadline::{Definition, RequireActor};
use threadline_tests::{TestDb, execute, try_execute, value};

diesel::table! { guarded (id) { id -> BigInt, n -> BigInt, } }

const USER: &str =
    r#"SELECT set_config('threadline.actor_ref', '{"type": "user", "id": "42"}', true);"#;
const ANONYMOUS: &str =
    r#"SELECT set_config('threadline.actor_ref', '{"type": "anonymous"}', true);"#;

/// `guarded` requires an actor and has row 1; `open` doesn't.
fn requiring(required: RequireActor) -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE guarded (id bigint PRIMARY KEY, n bigint NOT NULL); INSERT INTO guarded VALUES (1, 0);
         CREATE TABLE open (id bigint PRIMARY KEY)",
    );
    db.capture(
        "guarded",
        Definition::new("Guarded", &["id"]).require_actor(required),
    );
    db.capture("open", Definition::new("Open", &["id"]));
    db
}

fn assert_refused(db: &TestDb, sql: &str, wanted: &str) {
    let error = try_execute(&mut db.app(), sql).expect_err(sql);
    assert!(error.contains(wanted), "{sql}: {error}");
    assert!(error.contains("threadline::transaction"), "{sql}: {error}");
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_changes"),
        json!(0),
        "{sql}"
    );
    assert_eq!(
        value(
            &mut db.owner(),
            "SELECT array_agg(g ORDER BY id) FROM guarded g"
        ),
        json!([{"id": 1, "n": 0}]),
        "{sql}"
    );
}

const ANY: &str = "table public.guarded requires an actor\n";
const KNOWN: &str = "table public.guarded requires an actor who is known\n";

/// The setting that remembers the transaction's row is made to say that it has the actor.
#[test]
fn c28_a_forged_setting_is_no_actor() {
    let db = requiring(RequireActor::Known);
    execute(
        &mut db.app(),
        &format!(
            "BEGIN; INSERT INTO open VALUES (1); {USER}
             SELECT set_config('threadline.open', current_setting('threadline.open') || current_setting('threadline.actor_ref'), true);
             UPDATE guarded SET n = 1; COMMIT"
        ),
    );
    let actor = "SELECT t.actor_ref ->> 'id' FROM audit_changes c JOIN audit_transactions t ON t.id = c.transaction_id WHERE c.table_name = 'guarded'";
    assert_eq!(value(&mut db.auditor(), actor), "42");
}

#[test]
fn c28_an_insert_without_an_actor_is_refused() {
    assert_refused(
        &requiring(RequireActor::Any),
        "INSERT INTO guarded VALUES (2, 0)",
        ANY,
    );
}

#[test]
fn c28_an_update_without_an_actor_is_refused() {
    assert_refused(
        &requiring(RequireActor::Any),
        "UPDATE guarded SET n = 1",
        ANY,
    );
}

#[test]
fn c28_a_delete_without_an_actor_is_refused() {
    assert_refused(&requiring(RequireActor::Any), "DELETE FROM guarded", ANY);
}

#[test]
fn c28_a_truncate_without_an_actor_is_refused() {
    assert_refused(&requiring(RequireActor::Any), "TRUNCATE guarded", ANY);
}

#[test]
fn c28_a_copy_without_an_actor_is_refused() {
    let db = requiring(RequireActor::Any);
    let copy = |app: &mut PgConnection| {
        diesel::copy_from(guarded::table)
            .from_insertable(vec![(guarded::id.eq(2), guarded::n.eq(0))])
            .execute(app)
    };
    let error = copy(&mut db.app()).unwrap_err().to_string();
    assert!(
        error.contains("table public.guarded requires an actor"),
        "{error}"
    );
    db.app()
        .transaction::<_, diesel::result::Error, _>(|app| {
            execute(app, USER);
            copy(app)
        })
        .unwrap();
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_changes"),
        json!(1)
    );
}

#[test]
fn c28_an_empty_setting_is_no_actor() {
    let sql = "SELECT set_config('threadline.actor_ref', '', true); UPDATE guarded SET n = 1";
    assert_refused(&requiring(RequireActor::Any), sql, ANY);
}

#[test]
fn c28_a_known_actor_satisfies_both() {
    for required in [RequireActor::Any, RequireActor::Known] {
        let db = requiring(required);
        execute(&mut db.app(), &format!("{USER} UPDATE guarded SET n = 1"));
        assert_eq!(
            value(&mut db.auditor(), "SELECT count(*) FROM audit_changes"),
            json!(1)
        );
    }
}

#[test]
fn c28_anonymous_satisfies_any() {
    let db = requiring(RequireActor::Any);
    execute(
        &mut db.app(),
        &format!("{ANONYMOUS} UPDATE guarded SET n = 1"),
    );
    assert_eq!(
        value(
            &mut db.auditor(),
            "SELECT actor_ref FROM audit_transactions"
        ),
        json!({"type": "anonymous"})
    );
}

#[test]
fn c28_anonymous_does_not_satisfy_known() {
    let sql = format!("{ANONYMOUS} UPDATE guarded SET n = 1");
    assert_refused(&requiring(RequireActor::Known), &sql, KNOWN);
}

#[test]
fn c28_no_actor_does_not_satisfy_known() {
    assert_refused(
        &requiring(RequireActor::Known),
        "UPDATE guarded SET n = 1",
        KNOWN,
    );
}

#[test]
fn c28_an_actor_that_comes_after_the_write_is_too_late() {
    let sql = format!("UPDATE guarded SET n = 1; {USER}");
    assert_refused(&requiring(RequireActor::Any), &sql, ANY);
}

#[test]
fn c28_an_actor_that_comes_after_a_write_elsewhere_is_in_time() {
    let db = requiring(RequireActor::Known);
    execute(
        &mut db.app(),
        &format!("INSERT INTO open VALUES (1); {USER} UPDATE guarded SET n = 1"),
    );
    let actors = value(
        &mut db.auditor(),
        "SELECT array_agg(actor_ref) FROM audit_transactions",
    );
    assert_eq!(actors, json!([{"type": "user", "id": "42"}]));
}

#[test]
fn c28_the_actor_of_the_transaction_counts_when_the_setting_is_cleared() {
    let db = requiring(RequireActor::Known);
    execute(
        &mut db.app(),
        &format!(
            "{USER} INSERT INTO open VALUES (1); SELECT set_config('threadline.actor_ref', '', true); UPDATE guarded SET n = 1"
        ),
    );
    let count = value(
        &mut db.auditor(),
        "SELECT count(*) FROM audit_changes WHERE table_name = 'guarded'",
    );
    assert_eq!(count, json!(1));
}

#[test]
fn c28_the_actor_of_an_earlier_transaction_does_not_count() {
    let db = requiring(RequireActor::Any);
    let mut app = db.app();
    execute(&mut app, &format!("{USER} INSERT INTO open VALUES (1)"));
    let error = try_execute(&mut app, "UPDATE guarded SET n = 1").unwrap_err();
    assert!(error.contains(ANY), "{error}");
}

#[test]
fn c28_a_truncate_with_an_actor_is_captured() {
    let db = requiring(RequireActor::Known);
    execute(&mut db.app(), &format!("{USER} TRUNCATE guarded"));
    assert_eq!(
        value(&mut db.auditor(), "SELECT array_agg(op) FROM audit_changes"),
        json!(["truncate"])
    );
}
