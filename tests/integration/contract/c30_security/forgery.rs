//! Capture functions serve their own table alone, and nobody else calls them.

use super::*;

/// Fails without the REVOKE at the end of each migration, or that of `threadline_capture_v1`.
#[test]
fn c30_only_the_two_functions_for_applications_can_be_executed() {
    let db = users();
    let executable = value(
        &mut db.superuser(),
        "SELECT array_agg(proname ORDER BY proname) FROM pg_proc
         WHERE prosecdef AND pronamespace = 'public'::regnamespace AND has_function_privilege('tl_app', oid, 'EXECUTE')",
    );
    assert_eq!(
        executable,
        json!(["threadline_record_action_v1", "threadline_transaction_v1"])
    );
}

/// Fails without the REVOKE at the end of the record migration, or of the capture migration.
#[test]
fn c30_the_recorder_can_not_be_called() {
    let db = users();
    let mut app = db.app();
    for call in [
        "threadline_is_open_v1(threadline_transaction_id_v1(), '', '', NULL)",
        "threadline_enter_v1(threadline_transaction_id_v1(), '', NULL, 'public', 'users')",
        "threadline_record_v1('{\"table_id\": 1, \"key\": [\"id\"]}', NULL, NULL, NULL, 'INSERT', NULL, NULL, NULL, '{\"id\": 1}', NULL, true, NULL)",
        "threadline_record_rows_v1('{\"table_id\": 1, \"key\": [\"id\"]}', 'INSERT', '{1}', NULL, ARRAY['{\"id\": 1}'::jsonb], NULL)",
        "threadline_record_gone_v1('{}', 'users')",
        "threadline_recheck_v1('{}', '{}', '{}')",
        "threadline_admit_v1('{}', NULL, NULL, NULL, 'TRUNCATE', 'AFTER')",
        "threadline_truncate_v1('{}', 'users', 'AFTER')",
        "threadline_bypass_v1(1, 'public', 'users')",
        "threadline_protect_v1()",
        "threadline_detach('users')",
        "threadline_capture_v1('users', 'users', '{id}', '{}', '{}', '{}', '', '2s', '')",
        "threadline_release_v1('users', 'users', '2s')",
    ] {
        refused(
            &mut app,
            &format!("SELECT {call}"),
            "permission denied for function",
        );
    }
    assert_eq!(captured(&db), Vec::<Value>::new());
}

/// Fails without the REVOKE in `threadline_capture_v1`.
#[test]
fn c30_the_capture_function_can_not_be_attached() {
    let db = users();
    let attach = "CREATE TEMP TABLE users (id bigint, name text, n numeric);
                  CREATE TRIGGER forge AFTER INSERT ON pg_temp.users FOR EACH ROW EXECUTE FUNCTION public.threadline_capture_1()";
    refused(
        &mut db.app(),
        attach,
        "permission denied for function public.threadline_capture_1",
    );
}

fn assert_forgery_refused(table: &str, create: &str) {
    let db = users();
    execute(
        &mut db.owner(),
        "GRANT EXECUTE ON FUNCTION threadline_capture_1() TO PUBLIC",
    );
    let mut app = db.app();
    execute(&mut app, create);
    for events in ["INSERT OR UPDATE OR DELETE", "TRUNCATE"] {
        let (timing, level) = if events == "TRUNCATE" {
            ("BEFORE", "STATEMENT")
        } else {
            ("AFTER", "ROW")
        };
        execute(
            &mut app,
            &format!(
                "CREATE TRIGGER forge_{level} {timing} {events} ON {table} FOR EACH {level} EXECUTE FUNCTION public.threadline_capture_1()"
            ),
        );
    }
    refused(
        &mut app,
        &format!("INSERT INTO {table} VALUES (1, 'forged', 1)"),
        "is captured as public.users",
    );
    refused(
        &mut app,
        &format!("TRUNCATE {table}"),
        "is captured as public.users",
    );
    assert_eq!(captured(&db), Vec::<Value>::new());
}

/// Fails without the call of `threadline_verify_v1` in the trigger's body, or when it looks at the name alone.
#[test]
fn c30_a_temporary_table_of_the_same_name_forges_nothing() {
    assert_forgery_refused(
        "pg_temp.users",
        "CREATE TEMP TABLE users (id bigint, name text, n numeric)",
    );
}

/// Fails without the call of `threadline_verify_v1` in the trigger's body.
#[test]
fn c30_another_table_forges_nothing() {
    assert_forgery_refused(
        "public.forged",
        "CREATE TABLE public.forged (id bigint, name text, n numeric)",
    );
}

/// Fails when the trigger's body compares names without their schema.
#[test]
fn c30_a_table_of_the_same_name_in_another_schema_forges_nothing() {
    let db = users();
    execute(
        &mut db.superuser(),
        "CREATE SCHEMA app AUTHORIZATION tl_app",
    );
    execute(
        &mut db.owner(),
        "GRANT EXECUTE ON FUNCTION threadline_capture_1() TO PUBLIC",
    );
    let mut app = db.app();
    execute(
        &mut app,
        "CREATE TABLE app.users (id bigint, name text, n numeric);
         CREATE TRIGGER forge AFTER INSERT ON app.users FOR EACH ROW EXECUTE FUNCTION public.threadline_capture_1()",
    );
    refused(
        &mut app,
        "INSERT INTO app.users VALUES (1, 'forged', 1)",
        "is captured as public.users",
    );
    assert_eq!(captured(&db), Vec::<Value>::new());
}

/// Fails when `threadline_verify_v1` looks at the name of the partition's root alone.
#[test]
fn c30_a_partition_of_another_table_forges_nothing() {
    let db = users();
    execute(
        &mut db.superuser(),
        "CREATE SCHEMA app AUTHORIZATION tl_app",
    );
    execute(
        &mut db.owner(),
        "GRANT EXECUTE ON FUNCTION threadline_capture_1() TO PUBLIC",
    );
    let mut app = db.app();
    execute(
        &mut app,
        "CREATE TABLE app.users (id bigint, name text, n numeric) PARTITION BY LIST (id);
         CREATE TABLE app.one PARTITION OF app.users FOR VALUES IN (1);
         CREATE TRIGGER forge AFTER INSERT ON app.users FOR EACH ROW EXECUTE FUNCTION public.threadline_capture_1()",
    );
    refused(
        &mut app,
        "INSERT INTO app.users VALUES (1, 'forged', 1)",
        "is captured as public.users",
    );
    assert_eq!(captured(&db), Vec::<Value>::new());
}
