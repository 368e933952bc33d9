//! Attacks that the log has always withstood.

use super::*;

on_both_kinds!(
    rights_that_nobody_has,
    capture_that_is_almost_off,
    trigger_functions_on_a_table_of_ones_own,
    actors_that_are_none,
    writers_of_different_rows_do_not_wait,
    arguments_that_are_sql,
    a_temporary_table_of_the_same_name,
);

pub(super) fn items(db: &TestDb) {
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text, n numeric, tags text[], at timestamptz, span interval)",
    );
}

fn assert_denied(conn: &mut PgConnection, sql: &str) {
    let refusal = try_execute(conn, &format!("BEGIN; {sql}")).expect_err(sql);
    let expected = [
        "permission denied",
        "must be owner",
        "must be superuser",
        "cannot set parameter",
    ];
    assert!(
        expected.iter().any(|text| refusal.contains(text)),
        "{sql}: {refusal}"
    );
    execute(conn, "ROLLBACK");
}

fn rights_that_nobody_has(db: &TestDb) {
    items(db);
    let owner = value(
        &mut db.superuser(),
        "SELECT relowner::regrole FROM pg_class WHERE relname = 'audit_changes'",
    );
    let owner = owner.as_str().unwrap();
    let other = role(db, "other", "LOGIN");
    for role in ["tl_app", &*other] {
        let mut conn = connect(db, role);
        for sql in [
            "SET session_replication_role = replica",
            "ALTER TABLE items DISABLE TRIGGER ALL",
            "ALTER TABLE audit_changes DISABLE TRIGGER ALL",
            "DROP FUNCTION threadline_capture_1() CASCADE",
            "SET ROLE threadline_retention",
            "SET ROLE threadline_bypass",
            "SET SESSION AUTHORIZATION tl_owner",
            "LOCK TABLE audit_changes IN ACCESS SHARE MODE",
            "LOCK TABLE audit_transactions IN ACCESS EXCLUSIVE MODE",
            "SELECT nextval('audit_changes_id_seq')",
            "SELECT setval('audit_changes_id_seq', 1)",
            "CREATE TRIGGER forged BEFORE INSERT ON audit_changes FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "CREATE RULE forged AS ON INSERT TO audit_changes DO INSTEAD NOTHING",
            "ALTER FUNCTION threadline_capture_1() RESET ALL",
            &format!("SET ROLE {owner}"),
        ] {
            assert_denied(&mut conn, sql);
        }
    }
}

/// Only `off` is off.
fn capture_that_is_almost_off(db: &TestDb) {
    items(db);
    let mut app = db.app();
    for (id, off) in ["OFF", "Off", "off ", "false", "0", "no", ""]
        .iter()
        .enumerate()
    {
        execute(
            &mut app,
            &format!("SET threadline.capture = '{off}'; INSERT INTO items VALUES ({id})"),
        );
    }
    assert_eq!(lines(db, "items").len(), 7);
    execute(&mut app, "SET threadline.capture = 'off'");
    let refusal = try_execute(&mut app, "DELETE FROM items").unwrap_err();
    assert!(refusal.contains("may not switch off"), "{refusal}");
    assert_eq!(value(&mut db.superuser(), "SELECT count(*) FROM items"), 7);
}

fn trigger_functions_on_a_table_of_ones_own(db: &TestDb) {
    items(db);
    let functions = rows(
        &mut db.superuser(),
        "SELECT oid::regprocedure::text AS name FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace AND prorettype = 'trigger'::regtype AND prosecdef",
    );
    assert!(functions.len() >= 4, "{functions:?}");
    let mut app = db.app();
    execute(&mut app, "CREATE TEMP TABLE items (id bigint, name text)");
    for function in functions {
        let name = function["name"].as_str().unwrap();
        assert_denied(
            &mut app,
            &format!(
                "CREATE TRIGGER forged AFTER INSERT ON pg_temp.items FOR EACH ROW EXECUTE FUNCTION {name}"
            ),
        );
    }
}

fn actors_that_are_none(db: &TestDb) {
    items(db);
    let mut app = db.app();
    for strings in ["on", "off"] {
        execute(
            &mut app,
            &format!(
                "SET escape_string_warning = off; SET standard_conforming_strings = {strings}"
            ),
        );
        for id in [
            "\"a\\nb\"",
            "\"a\\u0000b\"",
            "\"\\u0085\"",
            "\"\\u007f\"",
            "\"\"",
            "1",
            "null",
            "[\"a\"]",
            "\"a\", \"more\": 1",
        ] {
            let actor = format!("{{\"type\": \"user\", \"id\": {id}}}");
            execute(&mut app, "BEGIN");
            let set = format!("SELECT set_config('threadline.actor_ref', $a${actor}$a$, true)");
            execute(&mut app, &set);
            let refusal = try_execute(&mut app, "INSERT INTO items VALUES (1)");
            let refusal = refusal.expect_err(&actor);
            assert!(
                refusal.contains("does not hold an actor"),
                "{actor}: {refusal}"
            );
            execute(&mut app, "ROLLBACK");
        }
        // And what only looks like an escape.
        let literal = "SELECT set_config('threadline.actor_ref', $a${\"type\": \"user\", \"id\": \"u0001-é\"}$a$, true)";
        execute(
            &mut app,
            &format!("BEGIN; {literal}; INSERT INTO items VALUES (1); DELETE FROM items; COMMIT"),
        );
    }
    assert_eq!(lines(db, "items").len(), 4);
}

/// Two open transactions that write to different rows, each with an action, while a third one holds every lock that it may.
fn writers_of_different_rows_do_not_wait(db: &TestDb) {
    items(db);
    let mut holder = db.app();
    execute(
        &mut holder,
        "BEGIN; SELECT pg_advisory_lock(i), pg_advisory_lock(0, i) FROM generate_series(-50, 50) i; LOCK TABLE items IN ROW EXCLUSIVE MODE",
    );
    let mut writers = [db.app(), db.app()];
    for (id, writer) in writers.iter_mut().enumerate() {
        execute(
            writer,
            &format!(
                "SET lock_timeout = '10s'; BEGIN; INSERT INTO items VALUES ({id}); SELECT threadline_record_action_v1('wrote'); UPDATE items SET name = 'x' WHERE id = {id}; UPDATE items SET id = id + 10"
            ),
        );
        let advisory =
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
        assert_eq!(value(writer, advisory), 0);
    }
    for writer in &mut writers {
        execute(writer, "COMMIT");
    }
    assert_eq!(lines(db, "items").len(), 8);
}

/// Reading functions make queries of what they are given: none of it becomes SQL.
fn arguments_that_are_sql(db: &TestDb) {
    db.create("CREATE TABLE bystander (id int); CREATE TABLE \"it's \"\"x\"\"; DROP TABLE bystander; --\" (\"id'; DROP TABLE bystander; --\" bigint PRIMARY KEY, \"$1\" text)");
    items(db);
    db.capture(
        "\"it's \"\"x\"\"; DROP TABLE bystander; --\"",
        Definition::new("Item", &["id'; DROP TABLE bystander; --"]).store_changed_from(),
    );
    execute(
        &mut db.app(),
        "INSERT INTO \"it's \"\"x\"\"; DROP TABLE bystander; --\" VALUES (1, 'a'); UPDATE \"it's \"\"x\"\"; DROP TABLE bystander; --\" SET \"$1\" = '$$; DROP TABLE bystander'; INSERT INTO items VALUES (1)",
    );
    let functions = rows(
        &mut db.superuser(),
        "SELECT p.proname AS name, ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes) WITH ORDINALITY a(t, i) ORDER BY i) AS arguments
         FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'threadline%' AND p.prorettype <> 'trigger'::regtype
           AND NOT p.prosecdef AND p.proname NOT LIKE 'threadline\\_record%'",
    );
    // As the owner of the log, whom nothing would be refused.
    let mut owner = db.owner();
    for injection in [
        "'; DROP TABLE bystander; --",
        "\"; DROP TABLE bystander; --",
        "); DROP TABLE bystander; --",
        "$$; DROP TABLE bystander; --",
        "1; DROP TABLE bystander",
        "%s%I%L",
    ] {
        let literal = format!("$inject${injection}$inject$");
        for function in &functions {
            let of = |kind: &Value| match kind.as_str().unwrap() {
                "text" => literal.clone(),
                "text[]" => format!("ARRAY[{literal}, 'id', 'name']"),
                "jsonb" => format!(
                    "jsonb_build_object({literal}, {literal}, 'id', {literal}, 'key', jsonb_build_array({literal}), 'table_schema', {literal}, 'table_name', {literal})"
                ),
                "jsonb[]" => format!("ARRAY[jsonb_build_object('id', {literal}, {literal}, 1)]"),
                "json" => format!("json_build_object({literal}, {literal})"),
                "regclass" | "oid" => "'items'::regclass".to_owned(),
                "anyelement" => "NULL::items".to_owned(),
                "timestamp with time zone" => "now()".to_owned(),
                "integer" | "bigint" => "1".to_owned(),
                "boolean" => "true".to_owned(),
                other => format!("NULL::{other}"),
            };
            let arguments: Vec<_> = function["arguments"]
                .as_array()
                .unwrap()
                .iter()
                .map(of)
                .collect();
            let call = format!(
                "SELECT * FROM {}({})",
                function["name"].as_str().unwrap(),
                arguments.join(", ")
            );
            let _ = try_execute(&mut owner, &format!("BEGIN; {call}"));
            let there = try_execute(&mut owner, "ROLLBACK; SELECT FROM bystander");
            assert!(there.is_ok(), "{call}: {there:?}");
            let survived = try_execute(
                &mut owner,
                &format!(
                    "BEGIN; DO $do$ BEGIN PERFORM * FROM {}({}); EXCEPTION WHEN OTHERS THEN NULL; END $do$; SELECT FROM bystander",
                    function["name"].as_str().unwrap(),
                    arguments.join(", ")
                ),
            );
            assert!(survived.is_ok(), "{call}: {survived:?}");
            execute(&mut owner, "ROLLBACK");
        }
    }
}

fn a_temporary_table_of_the_same_name(db: &TestDb) {
    items(db);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    let mut auditor = db.auditor();
    execute(
        &mut auditor,
        "CREATE TEMP TABLE items (id bigint PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'forged')",
    );
    for read in [
        "threadline_history('items', '{\"id\": 1}')",
        "threadline_as_of('items', '{\"id\": 1}', now())",
    ] {
        let refusal = try_execute(&mut auditor, &format!("SELECT * FROM {read}")).unwrap_err();
        assert!(refusal.contains("not audited"), "{read}: {refusal}");
    }
    let found = value(
        &mut auditor,
        "SELECT count(*) FROM threadline_history('public.items', '{\"id\": 1}')",
    );
    assert_eq!(found, 1);
}
