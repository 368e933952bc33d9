//! What the application may do: be captured, and record actions.

use super::*;

/// Fails when the migration grants a right on the log to PUBLIC, or capture runs with the writer's rights.
#[test]
fn c30_the_application_is_captured_without_a_right_on_the_log() {
    let db = users();
    let mut app = db.app();
    for table in [
        "audit_changes",
        "audit_transactions",
        "audit_actions",
        "audit_commits",
        "audit_tables",
    ] {
        for statement in [
            format!("SELECT FROM {table}"),
            format!("INSERT INTO {table} DEFAULT VALUES"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
        ] {
            refused(&mut app, &statement, "permission denied for table");
        }
    }
    refused(
        &mut app,
        "UPDATE audit_changes SET op = 'insert'",
        "permission denied for table",
    );
    refused(
        &mut app,
        "UPDATE audit_transactions SET actor_ref = NULL",
        "permission denied for table",
    );
    refused(
        &mut app,
        "UPDATE audit_actions SET name = ''",
        "permission denied for table",
    );
    refused(
        &mut app,
        "UPDATE audit_commits SET committed_at = now()",
        "permission denied for table",
    );
    refused(
        &mut app,
        "UPDATE audit_tables SET horizon = now()",
        "permission denied for table",
    );
    refused(
        &mut app,
        "SELECT nextval('audit_changes_id_seq')",
        "permission denied for sequence",
    );
    execute(&mut app, "INSERT INTO users VALUES (1, 'a', 1)");
    assert_eq!(captured(&db), [json!({"op": "insert", "id": "1"})]);
}

/// Fails when `threadline_record_action_v1` doesn't set the transaction's `action_id`.
#[test]
fn c30_the_application_records_actions() {
    let db = users();
    execute(
        &mut db.app(),
        "INSERT INTO users VALUES (1, 'a', 1); SELECT threadline_record_action_v1('user.created')",
    );
    let linked = value(
        &mut db.auditor(),
        "SELECT a.name FROM audit_transactions t JOIN audit_actions a ON a.id = t.action_id AND a.transaction_id = t.id",
    );
    assert_eq!(linked, json!("user.created"));
}

/// Fails when `threadline_enter_v1` takes the action's id from a setting, or `threadline_record_v1` the transaction's.
#[test]
fn c30_no_setting_links_to_another_transaction() {
    let db = users();
    execute(
        &mut db.app(),
        "SELECT set_config('threadline.actor_ref', '{\"type\": \"user\", \"id\": \"victim\"}', true);
         INSERT INTO users VALUES (1, 'a', 1); SELECT threadline_record_action_v1('user.created')",
    );
    let victim = value(
        &mut db.auditor(),
        "SELECT jsonb_build_object('tx', id, 'action', action_id) FROM audit_transactions",
    );
    let (tx, action) = (
        victim["tx"].as_str().unwrap(),
        victim["action"].as_str().unwrap(),
    );
    let mut app = db.app();
    for forged in [
        format!(
            "SELECT set_config('threadline.open', '{tx}-', true), set_config('threadline.actions', '{action}', true);"
        ),
        format!(
            "SELECT set_config('threadline.open', '{tx}+', false), set_config('threadline.actions', '{action}', false);"
        ),
    ] {
        execute(
            &mut app,
            &format!(
                "BEGIN; {forged} UPDATE users SET n = n + 1; SELECT threadline_record_action_v1('user.updated'); DELETE FROM users WHERE id = 9; COMMIT"
            ),
        );
    }
    let victims = rows(
        &mut db.auditor(),
        &format!(
            "SELECT (SELECT count(*) FROM audit_changes WHERE transaction_id = '{tx}') AS changes,
                    (SELECT count(*) FROM audit_transactions WHERE action_id = '{action}') AS links,
                    (SELECT count(*) FROM audit_actions WHERE transaction_id = '{tx}') AS actions"
        ),
    );
    assert_eq!(victims, [json!({"changes": 1, "links": 1, "actions": 1})]);
    let own = value(
        &mut db.auditor(),
        "SELECT count(*) FROM audit_changes c JOIN audit_transactions t ON t.id = c.transaction_id
         WHERE c.op = 'update' AND t.actor_ref IS NULL",
    );
    assert_eq!(own, json!(2));
}

/// Fails when `threadline_record_action_v1` takes a name, a status or an actor as it comes.
#[test]
fn c30_actions_are_checked() {
    let db = users();
    let mut app = db.app();
    let long = format!("SELECT threadline_record_action_v1('{}')", "x".repeat(256));
    for (call, reason) in [
        (
            "SELECT threadline_record_action_v1('')",
            "1 to 255 characters",
        ),
        (&long, "1 to 255 characters"),
        (
            "SELECT threadline_record_action_v1(NULL)",
            "1 to 255 characters",
        ),
        (
            "SELECT threadline_record_action_v1('a', status => 'maybe')",
            "ok or error",
        ),
        (
            "SELECT threadline_record_action_v1('a', actor_ref => '{\"type\": \"root\"}')",
            "does not hold an actor",
        ),
    ] {
        refused(&mut app, call, reason);
    }
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_actions"),
        json!(0)
    );
}

/// Fails when the capture function belongs to the table's owner instead of the log's.
#[test]
fn c30_capture_runs_as_the_owner_of_the_log() {
    let db = TestDb::new();
    execute(
        &mut db.superuser(),
        "CREATE TABLE theirs (id bigint PRIMARY KEY); GRANT ALL ON theirs TO tl_app",
    );
    let plan = threadline::capture::CapturePlan::for_definition(
        "theirs".parse().unwrap(),
        &Definition::new("T", &["id"]),
    )
    .unwrap();
    execute(&mut db.superuser(), &plan.up_sql(&Default::default()));
    execute(&mut db.app(), "INSERT INTO theirs VALUES (1)");
    let owner = value(
        &mut db.superuser(),
        "SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'threadline_capture_1'",
    );
    assert_eq!(owner, json!("tl_owner"));
    assert_eq!(captured(&db), [json!({"op": "insert", "id": "1"})]);
}
