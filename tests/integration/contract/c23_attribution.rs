//! C23: the actor and the context of a transaction.

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::{ActorRef, AuditContext};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

fn db() -> TestDb {
    let db = TestDb::new();
    db.audited("t", "CREATE TABLE t (id int PRIMARY KEY, note text)");
    db
}

/// Sets the actor for the transaction.
fn actor(kind: &str, id: &str) -> String {
    format!(
        r#"SELECT set_config('threadline.actor_ref', '{{"type": "{kind}", "id": "{id}"}}', true);"#
    )
}

fn actors(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT actor_ref FROM audit_transactions ORDER BY occurred_at",
    )
    .into_iter()
    .map(|mut row| row["actor_ref"].take())
    .collect()
}

fn user(id: &str) -> Value {
    json!({"type": "user", "id": id})
}

/// Fails when `threadline_record_v1` doesn't read `threadline.actor_ref`.
#[test]
fn c23_the_actor_is_the_transactions() {
    let db = db();
    let mut app = db.app();
    execute(
        &mut app,
        &format!(
            "BEGIN; {} INSERT INTO t VALUES (1); UPDATE t SET note = 'x'; COMMIT",
            actor("user", "7")
        ),
    );
    // The same session afterwards has none, although it was the same connection.
    execute(&mut app, "DELETE FROM t");
    assert_eq!(actors(&db), [user("7"), Value::Null]);
}

/// Fails without `setting = ''` in `threadline_actor_v1`.
#[test]
fn c23_unset_and_empty_mean_no_actor() {
    let db = db();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO t VALUES (1)");
    execute(
        &mut app,
        "BEGIN; SELECT set_config('threadline.actor_ref', '', true), set_config('threadline.meta', '', true),
            set_config('threadline.source', '', true), set_config('threadline.job_id', '', true); INSERT INTO t VALUES (2); COMMIT",
    );
    execute(
        &mut app,
        "BEGIN; RESET threadline.actor_ref; INSERT INTO t VALUES (3); COMMIT",
    );
    assert_eq!(
        rows(
            &mut db.auditor(),
            "SELECT actor_ref, source, meta, request_id, correlation_id, job_id, action_id FROM audit_transactions"
        ),
        vec![
            json!({"actor_ref": null, "source": null, "meta": null, "request_id": null, "correlation_id": null, "job_id": null, "action_id": null});
            3
        ]
    );
}

/// Fails without any one of the `current_setting('threadline.…')` in `threadline_enter_v1`.
#[test]
fn c23_the_context_is_stored_on_the_transaction() {
    let db = db();
    let mut app = db.app();
    let context = AuditContext::new(ActorRef::user(7).unwrap())
        .source("billing")
        .request_id("r-1")
        .correlation_id("c-1")
        .job_id("j-1")
        .metadata("tenant", json!({"name": "acme"}));
    threadline::transaction(&mut app, &context, |conn| {
        diesel::sql_query("INSERT INTO t VALUES (1)").execute(conn)
    })
    .unwrap();
    let expected = json!({
        "actor_ref": user("7"), "source": "billing", "request_id": "r-1", "correlation_id": "c-1", "job_id": "j-1",
        "meta": {"tenant": {"name": "acme"}}
    });
    let query = "SELECT actor_ref, source, request_id, correlation_id, job_id, meta FROM audit_transactions ORDER BY occurred_at";
    assert_eq!(rows(&mut db.auditor(), query)[0], expected);
    // By plain SQL, as any client would; what is set after the first change comes too late.
    execute(
        &mut app,
        &format!(
            "BEGIN; {} SELECT set_config('threadline.source', 'billing', true), set_config('threadline.request_id', 'r-1', true),
               set_config('threadline.correlation_id', 'c-1', true), set_config('threadline.job_id', 'j-1', true),
               set_config('threadline.meta', '{{\"tenant\": {{\"name\": \"acme\"}}}}', true);
             DELETE FROM t; SELECT set_config('threadline.source', 'late', true); INSERT INTO t VALUES (2); COMMIT",
            actor("user", "7")
        ),
    );
    assert_eq!(rows(&mut db.auditor(), query), [expected.clone(), expected]);
}

/// Fails without the UPDATE of `actor_ref` in `threadline_enter_v1`, and when `threadline_record_v1` compares `known` without
/// the actor.
#[test]
fn c23_a_late_actor_is_taken() {
    let db = db();
    let mut app = db.app();
    let late = actor("user", "7");
    for (id, begin) in [
        "INSERT INTO t VALUES (10);",
        "INSERT INTO t VALUES (11); RESET ALL;",
        "SAVEPOINT s; INSERT INTO t VALUES (12); RELEASE s;",
        "INSERT INTO t VALUES (13); SET CONSTRAINTS ALL IMMEDIATE;",
        "SELECT set_config('threadline.actor_ref', '', true); INSERT INTO t VALUES (14);",
    ]
    .into_iter()
    .enumerate()
    {
        execute(
            &mut app,
            &format!("BEGIN; {begin} {late} INSERT INTO t VALUES ({id}); COMMIT"),
        );
        assert_eq!(actors(&db).pop(), Some(user("7")), "{begin}");
    }
    assert_eq!(actors(&db).len(), 5);
}

/// Fails when `threadline_record_v1` compares `known` without the actor.
#[test]
fn c23_a_late_actor_that_is_rolled_back_was_none() {
    let db = db();
    execute(
        &mut db.app(),
        &format!(
            "BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; {} INSERT INTO t VALUES (2); ROLLBACK TO s;
             {} INSERT INTO t VALUES (3); COMMIT",
            actor("user", "7"),
            actor("user", "8")
        ),
    );
    assert_eq!(actors(&db), [user("8")]);
}

/// Fails with `stored IS DISTINCT FROM actor` for `stored <> actor` in `threadline_enter_v1`.
#[test]
fn c23_an_actor_is_kept_when_the_setting_is_emptied() {
    let db = db();
    for (id, forget) in [
        "SELECT set_config('threadline.actor_ref', '', true);",
        "RESET ALL;",
        "RESET threadline.actor_ref;",
    ]
    .into_iter()
    .enumerate()
    {
        let (with, id) = (actor("user", "7"), id * 10);
        execute(
            &mut db.app(),
            &format!(
                "BEGIN; {with} INSERT INTO t VALUES ({id}); {forget} INSERT INTO t VALUES ({id} + 1); {with} INSERT INTO t VALUES ({id} + 2); COMMIT"
            ),
        );
        assert_eq!(actors(&db).pop(), Some(user("7")), "{forget}");
    }
}

/// Fails without `stored <> actor` in `threadline_enter_v1`.
#[test]
fn c23_a_different_actor_is_refused() {
    let db = db();
    let mut app = db.app();
    for between in [
        "",
        "RESET ALL;",
        "SELECT set_config('threadline.actor_ref', '', true); UPDATE t SET note = 'y';",
        "SAVEPOINT s;",
        "SET CONSTRAINTS ALL IMMEDIATE;",
        "SELECT set_config('threadline.open', '', true);",
    ] {
        let error = try_execute(
            &mut app,
            &format!(
                "BEGIN; {} INSERT INTO t VALUES (1); {between} {} UPDATE t SET note = 'x'",
                actor("user", "ann"),
                actor("admin", "bob")
            ),
        )
        .unwrap_err();
        for part in [
            r#""id": "ann""#,
            r#""type": "user""#,
            r#""id": "bob""#,
            r#""type": "admin""#,
        ] {
            assert!(error.contains(part), "{between} {error}");
        }
        execute(&mut app, "ROLLBACK");
    }
    assert_eq!(actors(&db), Vec::<Value>::new());
}

/// Fails with `stored::text <> setting` for `stored <> actor` in `threadline_enter_v1`.
#[test]
fn c23_the_same_actor_in_another_spelling_is_the_same() {
    let db = db();
    execute(
        &mut db.app(),
        r#"BEGIN; SELECT set_config('threadline.actor_ref', '{"type": "user", "id": "7"}', true); INSERT INTO t VALUES (1);
           SELECT set_config('threadline.actor_ref', '{ "id":"\u0037","type":"user"}', true); INSERT INTO t VALUES (2); COMMIT"#,
    );
    assert_eq!(actors(&db), [user("7")]);
}

/// Fails when `threadline_enter_v1` takes `current_user` for `session_user`, or leaves any of the four columns out.
#[test]
fn c23_what_the_application_cannot_claim() {
    let db = db();
    let mut app = db.app();
    execute(&mut app, "SET application_name = 'billing'");
    execute(
        &mut app,
        "BEGIN; SELECT set_config('threadline.' || f, 'forged', true)
           FROM unnest('{session_user,session_user_name,role,role_name,client_address,application_name,txid,id,occurred_at}'::text[]) f;
         INSERT INTO t VALUES (1); COMMIT",
    );
    // A member of another role that acts as it: both are seen.
    let mut operator = PgConnection::establish(&db.url("tl_operator")).unwrap();
    execute(
        &mut operator,
        "SET application_name = ''; SET ROLE tl_app; INSERT INTO t VALUES (2)",
    );
    execute(&mut operator, "RESET ROLE; INSERT INTO t VALUES (3)");
    let seen = |user: &str, role: Value, name: &str| json!({"session_user_name": user, "role_name": role, "application_name": name, "client_address": null});
    assert_eq!(
        rows(
            &mut db.auditor(),
            "SELECT session_user_name, role_name, application_name, client_address FROM audit_transactions ORDER BY occurred_at"
        ),
        [
            seen("tl_app", Value::Null, "billing"),
            seen("tl_operator", json!("tl_app"), ""),
            seen("tl_operator", Value::Null, ""),
        ]
    );
}

/// Fails when `threadline_enter_v1` doesn't call `inet_client_addr()`: the test's server listens on a socket only, where
/// that is NULL, so the function's text is what there is to see.
#[test]
fn c23_the_client_address_is_the_servers() {
    let db = db();
    assert_eq!(
        value(
            &mut db.auditor(),
            "SELECT prosrc LIKE '%inet_client_addr())%' FROM pg_proc WHERE proname = 'threadline_enter_v1'"
        ),
        json!(true)
    );
}
