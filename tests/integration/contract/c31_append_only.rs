//! C31: the log is append-only.

use diesel::prelude::*;
use serde_json::json;
use threadline_tests::{TestDb, execute, try_execute, value};

const TABLES: [(&str, &str); 4] = [
    ("audit_changes", "op = 'delete'"),
    ("audit_transactions", "source = 'forged'"),
    ("audit_actions", "name = 'forged'"),
    ("audit_commits", "committed_at = now()"),
];

/// One line in each table of the log.
fn log() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, n bigint)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 1); SELECT threadline_record_action_v1('item.created')",
    );
    db
}

fn assert_refused(conn: &mut PgConnection, sql: &str) {
    let error = try_execute(conn, sql).expect_err(sql);
    assert!(error.contains("is append-only"), "{sql}: {error}");
}

fn assert_untouched(db: &TestDb) {
    for (table, forged) in TABLES {
        let sql = format!(
            "SELECT jsonb_build_array(count(*), count(*) FILTER (WHERE {forged})) FROM {table}"
        );
        assert_eq!(value(&mut db.superuser(), &sql), json!([1, 0]), "{table}");
    }
}

fn assert_append_only(
    conn: impl Fn(&TestDb) -> PgConnection,
    statement: impl Fn(&str, &str) -> String,
) {
    let db = log();
    for (table, set) in TABLES {
        assert_refused(&mut conn(&db), &statement(table, set));
    }
    assert_untouched(&db);
}

fn update(table: &str, set: &str) -> String {
    format!("UPDATE {table} SET {set}")
}

fn delete(table: &str, _: &str) -> String {
    format!("DELETE FROM {table}")
}

fn truncate(table: &str, _: &str) -> String {
    format!("TRUNCATE {table}")
}

#[test]
fn c31_the_owner_can_not_update() {
    assert_append_only(TestDb::owner, update);
}

#[test]
fn c31_the_owner_can_not_delete() {
    assert_append_only(TestDb::owner, delete);
}

#[test]
fn c31_the_owner_can_not_truncate() {
    assert_append_only(TestDb::owner, truncate);
}

#[test]
fn c31_a_superuser_can_not_update() {
    assert_append_only(TestDb::superuser, update);
}

#[test]
fn c31_a_superuser_can_not_delete() {
    assert_append_only(TestDb::superuser, delete);
}

#[test]
fn c31_a_superuser_can_not_truncate() {
    assert_append_only(TestDb::superuser, truncate);
}

const ANN: &str = r#"'{"type": "user", "id": "ann"}'"#;

#[test]
fn c31_a_late_actor_is_set_once() {
    let db = log();
    let mut owner = db.owner();
    let set = |actor: &str| {
        format!(
            "UPDATE audit_transactions SET actor_ref = {actor} WHERE id = threadline_transaction_v1()"
        )
    };
    execute(&mut owner, "BEGIN; INSERT INTO items VALUES (2, 2)");
    execute(&mut owner, &set(ANN));
    execute(&mut owner, "SAVEPOINT once");
    assert_refused(&mut owner, &set(r#"'{"type": "user", "id": "bob"}'"#));
    execute(&mut owner, "ROLLBACK TO once");
    assert_refused(&mut owner, &set("NULL"));
    execute(&mut owner, "ROLLBACK TO once; COMMIT");
    let actor = value(
        &mut db.auditor(),
        "SELECT actor_ref ->> 'id' FROM audit_transactions ORDER BY occurred_at DESC LIMIT 1",
    );
    assert_eq!(actor, json!("ann"));
}

#[test]
fn c31_a_late_actor_comes_from_the_application_once() {
    let db = log();
    let mut app = db.app();
    execute(&mut app, "BEGIN; INSERT INTO items VALUES (2, 2)");
    execute(
        &mut app,
        &format!(
            "SELECT set_config('threadline.actor_ref', {ANN}, true); INSERT INTO items VALUES (3, 3)"
        ),
    );
    execute(&mut app, "COMMIT");
    let actor = value(
        &mut db.auditor(),
        "SELECT actor_ref ->> 'id' FROM audit_transactions ORDER BY occurred_at DESC LIMIT 1",
    );
    assert_eq!(actor, json!("ann"));
}

#[test]
fn c31_a_later_transaction_sets_no_actor() {
    let db = log();
    assert_refused(
        &mut db.owner(),
        &format!("UPDATE audit_transactions SET actor_ref = {ANN}"),
    );
    // Not even one that captures, and so has a transaction of its own.
    assert_refused(
        &mut db.owner(),
        &format!(
            "INSERT INTO items VALUES (2, 2); UPDATE audit_transactions SET actor_ref = {ANN} WHERE id <> threadline_transaction_v1()"
        ),
    );
    assert_untouched(&db);
}

#[test]
fn c31_the_first_action_is_set_once() {
    let db = log();
    let mut owner = db.owner();
    let set = |id: &str| {
        format!(
            "UPDATE audit_transactions SET action_id = {id} WHERE id = threadline_transaction_v1()"
        )
    };
    execute(&mut owner, "BEGIN; INSERT INTO items VALUES (2, 2)");
    execute(&mut owner, &set("'00000000-0000-0000-0000-000000000001'"));
    execute(&mut owner, "SAVEPOINT once");
    assert_refused(&mut owner, &set("'00000000-0000-0000-0000-000000000002'"));
    execute(&mut owner, "ROLLBACK TO once");
    assert_refused(&mut owner, &set("NULL"));
    execute(&mut owner, "ROLLBACK TO once; COMMIT");
    assert_refused(
        &mut owner,
        "UPDATE audit_transactions SET action_id = NULL WHERE action_id IS NOT NULL",
    );
}

#[test]
fn c31_nothing_else_of_a_transaction_is_set_even_inside_it() {
    let db = log();
    let mut owner = db.owner();
    for set in [
        "source = 'late'",
        "occurred_at = now()",
        "session_user_name = 'root'",
        "meta = '{}'",
        "id = gen_random_uuid()",
    ] {
        let sql = format!(
            "INSERT INTO items VALUES (2, 2); UPDATE audit_transactions SET {set} WHERE id = threadline_transaction_v1()"
        );
        assert_refused(&mut owner, &sql);
    }
}

#[test]
fn c31_retention_deletes() {
    let db = log();
    let mut superuser = db.superuser();
    for (table, _) in TABLES {
        execute(
            &mut superuser,
            &format!("SET ROLE threadline_retention; DELETE FROM {table}; RESET ROLE"),
        );
        assert_eq!(
            value(&mut superuser, &format!("SELECT count(*) FROM {table}")),
            json!(0)
        );
    }
}

/// Even with the rights for it, by mistake.
#[test]
fn c31_retention_neither_updates_nor_truncates() {
    let db = log();
    let mut superuser = db.superuser();
    for (table, set) in TABLES {
        for statement in [update(table, set), truncate(table, "")] {
            let retention = format!("SET ROLE threadline_retention; {statement}");
            let error = try_execute(&mut superuser, &retention).unwrap_err();
            assert!(error.contains("permission denied"), "{statement}: {error}");
            execute(
                &mut superuser,
                &format!("RESET ROLE; GRANT UPDATE, TRUNCATE ON {table} TO threadline_retention"),
            );
            assert_refused(&mut superuser, &retention);
            execute(
                &mut superuser,
                &format!(
                    "RESET ROLE; REVOKE UPDATE, TRUNCATE ON {table} FROM threadline_retention"
                ),
            );
        }
    }
    assert_untouched(&db);
}

#[test]
fn c31_only_members_of_the_role_act_as_retention() {
    let db = log();
    for mut conn in [db.app(), db.owner(), db.auditor()] {
        let error = try_execute(
            &mut conn,
            "SET ROLE threadline_retention; DELETE FROM audit_changes",
        )
        .unwrap_err();
        assert!(error.contains("permission denied to set role"), "{error}");
    }
    assert_untouched(&db);
}
