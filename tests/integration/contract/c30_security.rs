//! C30: capture runs as the owner of the log, and only what Threadline wrote runs with it.

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::Definition;
use threadline_tests::{TestDb, execute, rows, try_execute, value};

/// `users` is captured; the application may create functions in `public`, as up to PostgreSQL 14.
fn users() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "users",
        "CREATE TABLE users (id bigint PRIMARY KEY, name text, n numeric)",
    );
    execute(
        &mut db.superuser(),
        "GRANT CREATE ON SCHEMA public TO tl_app",
    );
    db
}

fn captured(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT op, table_pk ->> 'id' AS id FROM audit_changes c ORDER BY c.id",
    )
}

fn refused(conn: &mut PgConnection, sql: &str, reason: &str) {
    let error = try_execute(conn, sql).expect_err(sql);
    assert!(error.contains(reason), "{sql}: {error}");
}

/// Fails when any of them has `public` in its path, or lacks one.
#[test]
fn c30_definer_functions_have_a_path_of_pg_catalog_and_pg_temp_alone() {
    let db = users();
    let config = rows(
        &mut db.superuser(),
        "SELECT DISTINCT regexp_replace(proname, '\\d+$', 'n') AS name, proconfig AS config
         FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY name",
    );
    let path = "search_path=pg_catalog, pg_temp";
    let pins = json!([
        path,
        "TimeZone=UTC",
        "DateStyle=ISO",
        "IntervalStyle=iso_8601",
        "extra_float_digits=1",
        "bytea_output=hex",
        "lc_monetary=C"
    ]);
    assert_eq!(
        config,
        [
            json!({"name": "threadline_capture_n", "config": pins}),
            json!({"name": "threadline_record_action_vn", "config": [path]}),
            json!({"name": "threadline_require_changes_vn", "config": [path]}),
            json!({"name": "threadline_seal_vn", "config": [path]}),
            json!({"name": "threadline_transaction_vn", "config": [path]}),
        ]
    );
}

/// A function or an operator that counts its runs and then does what the real one does.
fn decoy(name: &str, arguments: &str, returns: &str, real: &str) -> String {
    format!(
        "CREATE FUNCTION public.{name}({arguments}) RETURNS {returns} LANGUAGE plpgsql AS $decoy$
         BEGIN PERFORM pg_catalog.nextval('public.decoys_run'::pg_catalog.regclass); RETURN {real}; END $decoy$;"
    )
}

/// Fails when `public` comes into the `search_path` of the capture function, before `pg_catalog` or after it.
#[test]
fn c30_planted_functions_and_operators_never_run() {
    let db = users();
    let mut app = db.app();
    execute(
        &mut app,
        "CREATE SEQUENCE public.decoys_run; GRANT ALL ON SEQUENCE public.decoys_run TO PUBLIC",
    );
    // Better matches than what pg_catalog has, which win wherever public is in the path at all …
    execute(
        &mut app,
        &decoy(
            "jsonb_build_object",
            "text, text",
            "jsonb",
            "pg_catalog.jsonb_build_object($1, $2)",
        ),
    );
    execute(
        &mut app,
        &decoy(
            "to_jsonb",
            "public.users",
            "jsonb",
            "pg_catalog.to_jsonb($1)",
        ),
    );
    execute(
        &mut app,
        &decoy(
            "pg_column_size",
            "public.users",
            "integer",
            "pg_catalog.pg_column_size($1)",
        ),
    );
    execute(
        &mut app,
        &decoy(
            "hashtextextended",
            "text, integer",
            "bigint",
            "pg_catalog.hashtextextended($1, $2)",
        ),
    );
    execute(
        &mut app,
        &decoy(
            "same_row",
            "public.users, public.users",
            "boolean",
            "pg_catalog.record_image_eq($1, $2)",
        ),
    );
    execute(
        &mut app,
        "CREATE OPERATOR public.*= (LEFTARG = public.users, RIGHTARG = public.users, FUNCTION = public.same_row)",
    );
    // … and equal ones, which win where it comes first.
    execute(
        &mut app,
        &decoy(
            "field",
            "jsonb, text",
            "text",
            "pg_catalog.jsonb_object_field_text($1, $2)",
        ),
    );
    execute(
        &mut app,
        "CREATE OPERATOR public.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = public.field)",
    );
    execute(
        &mut app,
        &decoy(
            "clock_timestamp",
            "",
            "timestamptz",
            "pg_catalog.clock_timestamp()",
        ),
    );
    execute(
        &mut app,
        &decoy(
            "current_setting",
            "text, boolean",
            "text",
            "pg_catalog.current_setting($1, $2)",
        ),
    );
    execute(
        &mut app,
        &decoy(
            "set_config",
            "text, text, boolean",
            "text",
            "pg_catalog.set_config($1, $2, $3)",
        ),
    );
    execute(
        &mut app,
        &decoy(
            "lpad",
            "text, integer, text",
            "text",
            "pg_catalog.lpad($1, $2, $3)",
        ),
    );

    // The decoys work: they run where public comes first.
    execute(
        &mut app,
        "BEGIN; SET LOCAL search_path = public, pg_catalog; SELECT '{}'::jsonb ->> 'a', lpad('', 1, ''); COMMIT",
    );
    assert_eq!(
        value(&mut app, "SELECT last_value FROM public.decoys_run"),
        json!(2)
    );
    execute(
        &mut app,
        "SELECT pg_catalog.setval('public.decoys_run', 1, false)",
    );
    // And now everything that capture does, with the same path.
    for sql in [
        "SET search_path = public, pg_catalog",
        "INSERT INTO users VALUES (1, 'a', 1.0), (2, 'b', 1)",
        "UPDATE users SET name = 'c' WHERE id = 1",
        "UPDATE users SET n = 1.00 WHERE id = 1",
        "UPDATE users SET id = 3 WHERE id = 1",
        "UPDATE users SET name = name",
        "UPDATE users SET name = repeat('x', 1100000) WHERE id = 2",
        "SELECT public.threadline_record_action_v1('tried')",
        "DELETE FROM users WHERE id = 3",
        "TRUNCATE users",
        "RESET search_path",
        "DROP FUNCTION public.to_jsonb(public.users)", // it would make the tests' own queries ambiguous
    ] {
        execute(&mut app, sql);
    }
    let ran = value(&mut app, "SELECT is_called FROM public.decoys_run");
    assert_eq!(ran, json!(false));
    let ops: Vec<_> = captured(&db).into_iter().map(|c| c["op"].clone()).collect();
    assert_eq!(
        ops,
        [
            "insert", "insert", "update", "update", "delete", "insert", "update", "delete",
            "truncate"
        ]
    );
}

/// Fails when a capture function names an audit table without its schema.
#[test]
fn c30_temporary_tables_capture_nothing() {
    let db = users();
    let mut app = db.app();
    for table in [
        "audit_changes",
        "audit_transactions",
        "audit_commits",
        "audit_tables",
        "audit_actions",
    ] {
        execute(
            &mut app,
            &format!(
                "CREATE TEMP TABLE {table} AS SELECT * FROM (SELECT) nothing; GRANT ALL ON pg_temp.{table} TO PUBLIC"
            ),
        );
    }
    execute(
        &mut app,
        "INSERT INTO users VALUES (1, 'a', 1); UPDATE users SET n = 2; SELECT threadline_record_action_v1('tried')",
    );
    let ops: Vec<_> = captured(&db).into_iter().map(|c| c["op"].clone()).collect();
    assert_eq!(ops, ["insert", "update"]);
    let log = value(
        &mut db.auditor(),
        "SELECT jsonb_build_array((SELECT count(*) FROM audit_transactions), (SELECT count(*) FROM audit_commits), (SELECT count(*) FROM audit_actions))",
    );
    assert_eq!(log, json!([1, 1, 1]));
}

/// Fails when `pg_temp` is left out of the path: then it comes first of all, for tables and types.
#[test]
fn c30_temporary_types_never_run_their_checks() {
    let db = users();
    let mut app = db.app();
    execute(
        &mut app,
        "CREATE SEQUENCE public.decoys_run; GRANT ALL ON SEQUENCE public.decoys_run TO PUBLIC;
         CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (pg_catalog.nextval('public.decoys_run'::pg_catalog.regclass) > 0);
         CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (pg_catalog.nextval('public.decoys_run'::pg_catalog.regclass) > 0);
         CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_catalog.nextval('public.decoys_run'::pg_catalog.regclass) > 0);
         CREATE DOMAIN pg_temp.regclass AS pg_catalog.regclass CHECK (pg_catalog.nextval('public.decoys_run'::pg_catalog.regclass) > 0)",
    );
    execute(&mut app, "SELECT 'a'::text");
    assert_eq!(
        value(&mut app, "SELECT last_value FROM public.decoys_run"),
        json!(1),
        "the domains shadow the types"
    );
    execute(
        &mut app,
        "SELECT pg_catalog.setval('public.decoys_run'::pg_catalog.regclass, 1, false)",
    );
    execute(
        &mut app,
        "INSERT INTO users VALUES (1, 'a', 1); UPDATE users SET n = 2; SELECT threadline_record_action_v1('tried')",
    );
    assert_eq!(
        value(&mut app, "SELECT is_called FROM public.decoys_run"),
        json!(false)
    );
    assert_eq!(captured(&db).len(), 2);
}

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
        "threadline_append_v1(1, 'public', 'users', 'delete', '{\"id\": \"1\"}', NULL, NULL, NULL, NULL)",
        "threadline_open_v1(threadline_transaction_id_v1(), '')",
        "threadline_record_v1(1, 'public', 'users', '{id}', 'INSERT', NULL, '{\"id\": 1}', NULL, '{}', '{}', '{}', '{}', false, NULL)",
        "threadline_truncate_v1(1, 'public', 'users', 'public', 'users', NULL)",
        "threadline_capture_v1('users', 'users', '{id}', '{}', '{}', '{}', '{}', '', '2s', '')",
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

/// Fails when `threadline_open_v1` takes the action's id from a setting, or `threadline_append_v1` the transaction's.
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
