//! Attacks and faults that the log has always withstood.

use super::*;
use threadline_tests::log::{assert_newest_images_equal_table, assert_nothing_is_orphaned};
use threadline_tests::wait_for;

on_both_kinds!(
    rights_that_nobody_has,
    capture_that_is_almost_off,
    trigger_functions_on_a_table_of_ones_own,
    actors_that_are_none,
    writers_of_different_rows_do_not_wait,
    settings_of_the_session_change_nothing,
    arguments_that_are_sql,
    a_temporary_table_of_the_same_name,
    a_prepared_transaction_with_an_action,
    many_subtransactions,
    a_session_that_is_ended_in_the_middle,
    readers_that_may_only_read,
    a_table_that_is_written_anew,
);

fn items(db: &TestDb) {
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

/// What is stored is the same in every session. How a regclass prints is not among it.
fn settings_of_the_session_change_nothing(db: &TestDb) {
    items(db);
    let settings = [
        "timezone = 'Pacific/Kiritimati'",
        "datestyle = 'German'",
        "intervalstyle = 'sql_standard'",
        "array_nulls = off",
        "plpgsql.extra_errors = 'all'",
        "plpgsql.extra_warnings = 'all'",
        "quote_all_identifiers = on",
        "standard_conforming_strings = off",
        "backslash_quote = off",
        "transform_null_equals = on",
        "extra_float_digits = -15",
        "lc_monetary = 'C'",
        "check_function_bodies = off",
        "plan_cache_mode = force_custom_plan",
        "plan_cache_mode = force_generic_plan",
        "default_transaction_isolation = 'serializable'",
        "constraint_exclusion = on",
        "enable_seqscan = off",
        "enable_indexscan = off",
        "row_security = off",
        "search_path = pg_temp",
        "search_path = ''",
        "client_min_messages = debug5",
        "xmloption = document",
        "plpgsql.check_asserts = off",
        "default_transaction_deferrable = on",
        "jit = on",
        "jit_above_cost = 0",
        "work_mem = '64kB'",
    ];
    let row = "'a', 1.10, '{a,b}', '2024-02-29 12:00:00+00', '1 day 02:00:00'";
    let mut app = db.app();
    execute(&mut app, "SELECT 1"); // loads nothing of plpgsql: its settings may come first
    execute(&mut app, "DO $$ BEGIN NULL; END $$");
    for (id, setting) in [""].iter().chain(&settings).enumerate() {
        let set = if setting.is_empty() {
            String::new()
        } else {
            format!("SET {setting};")
        };
        for sql in [
            format!("BEGIN; {set} INSERT INTO public.items VALUES ({id}, {row})"),
            format!("UPDATE public.items SET name = 'b', n = 1.1, tags = '{{c}}' WHERE id = {id}"),
            format!("UPDATE public.items SET id = id + 1000 WHERE id = {id}"),
            format!("DELETE FROM public.items WHERE id = {id} + 1000"),
            "COMMIT; RESET ALL".to_owned(),
        ] {
            try_execute(&mut app, &sql).unwrap_or_else(|error| panic!("with {setting}: {error}"));
        }
    }
    let stored = rows(
        &mut db.superuser(),
        "SELECT DISTINCT count(*) AS sessions, jsonb_agg(jsonb_build_object('op', op, 'after', data_after - 'id', 'fields', changed_fields, 'from', changed_from - 'id') ORDER BY id) AS changes
         FROM (SELECT c.*, (table_pk ->> 'id')::bigint % 1000 AS session FROM audit_changes c) c GROUP BY session",
    );
    assert_eq!(stored.len(), 1, "{stored:#?}");
    assert_eq!(stored[0]["sessions"], 5);
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

fn a_prepared_transaction_with_an_action(db: &TestDb) {
    items(db);
    let mut app = db.app();
    let name = db.name();
    execute(
        &mut app,
        "BEGIN; SELECT threadline_record_action_v1('prepared', requires_changes => true); INSERT INTO items VALUES (1);
         SAVEPOINT s; INSERT INTO items VALUES (2); SELECT threadline_record_action_v1('undone'); ROLLBACK TO s; INSERT INTO items VALUES (3)",
    );
    execute(&mut app, &format!("PREPARE TRANSACTION '{name}'"));
    execute(&mut app, "INSERT INTO items VALUES (4)");
    execute(&mut app, &format!("COMMIT PREPARED '{name}'"));
    assert_eq!(lines(db, "items"), ["insert 1", "insert 3", "insert 4"]);
    assert_nothing_is_orphaned(db);
    let actions = value(
        &mut db.superuser(),
        "SELECT array_agg(a.name) FROM audit_actions a JOIN audit_transactions t ON t.id = a.transaction_id",
    );
    assert_eq!(actions, json!(["prepared"]));
}

/// More than PostgreSQL keeps for each transaction in shared memory, seen from another session before and after.
fn many_subtransactions(db: &TestDb) {
    items(db);
    let mut app = db.app();
    let now = "SELECT to_jsonb(clock_timestamp()) #>> '{}'";
    execute(
        &mut app,
        "BEGIN; DO $$ BEGIN FOR i IN 1..300 LOOP BEGIN INSERT INTO items VALUES (i, 'a'); EXCEPTION WHEN OTHERS THEN RAISE; END; END LOOP; END $$",
    );
    let mut auditor = db.auditor();
    let at = value(&mut auditor, now);
    let at = at.as_str().unwrap();
    let seen = |auditor: &mut PgConnection| {
        value(
            auditor,
            &format!(
                "SELECT jsonb_build_array(threadline_settled('{at}'), (SELECT count(*) FROM threadline_history('items', '{{\"id\": 300}}')), (SELECT count(*) FROM audit_changes))"
            ),
        )
    };
    assert_eq!(seen(&mut auditor), json!([false, 0, 0]));
    execute(&mut app, "COMMIT");
    // Others of the cluster may be open for longer: whether it is settled then is theirs to say.
    let after = seen(&mut auditor);
    assert_eq!([&after[1], &after[2]], [&json!(1), &json!(300)]);
    // The table as of then, by the one name or the other.
    let table_as_of = value(
        &mut auditor,
        "SELECT proname FROM pg_proc WHERE proname IN ('threadline_moment', 'threadline_table_as_of')",
    );
    for (conn, role) in [(&mut auditor, "auditor"), (&mut db.owner(), "owner")] {
        let rows = format!(
            "SELECT count(*) FROM {}(NULL::items, 'items', '{at}')",
            table_as_of.as_str().unwrap()
        );
        assert_eq!(value(conn, &rows), 0, "as {role}");
    }
    assert_newest_images_equal_table(db, "items");
    assert_nothing_is_orphaned(db);
}

fn a_session_that_is_ended_in_the_middle(db: &TestDb) {
    items(db);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items VALUES (1); SET idle_in_transaction_session_timeout = '1ms'",
    );
    let pid = value(&mut app, "SELECT pg_backend_pid()");
    let _ = try_execute(
        &mut app,
        "BEGIN; UPDATE items SET name = 'x'; SELECT threadline_record_action_v1('never')",
    );
    let mut superuser = db.superuser();
    wait_for("the end of the session", || {
        let left = value(
            &mut superuser,
            &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"),
        );
        (left == 0).then_some(())
    });
    let mut app = db.app();
    execute(&mut app, "UPDATE items SET name = 'y'");
    assert_eq!(lines(db, "items"), ["insert 1", "update 1"]);
    assert_newest_images_equal_table(db, "items");
    assert_nothing_is_orphaned(db);
    assert_eq!(
        value(&mut superuser, "SELECT count(*) FROM audit_actions"),
        0
    );
}

fn readers_that_may_only_read(db: &TestDb) {
    items(db);
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'); UPDATE items SET name = 'b'",
    );
    for set in [
        "SET default_transaction_read_only = on",
        "SET default_transaction_isolation = 'serializable'",
        "SET default_transaction_read_only = on; SET default_transaction_isolation = 'serializable'; SET default_transaction_deferrable = on",
    ] {
        let mut auditor = db.auditor();
        execute(&mut auditor, set);
        for read in [
            "threadline_history('items', '{\"id\": 1}')",
            "threadline_as_of('items', '{\"id\": 1}', now())",
            "threadline_settled(now())",
        ] {
            execute(&mut auditor, &format!("SELECT * FROM {read}"));
        }
        let count = value(
            &mut auditor,
            "SELECT count(*) FROM threadline_history('items', '{\"id\": 1}')",
        );
        assert_eq!(count, 2, "{set}");
    }
}

fn a_table_that_is_written_anew(db: &TestDb) {
    items(db);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items VALUES (1, 'a', 1.10), (2, 'b', 2)",
    );
    for sql in [
        "VACUUM FULL items".to_owned(),
        "CLUSTER items USING items_pkey".to_owned(),
        "REINDEX TABLE items".to_owned(),
        "VACUUM FULL audit_changes".to_owned(),
        format!(
            "ALTER DATABASE {} SET timezone = 'Asia/Kathmandu'",
            db.name()
        ),
        format!("ALTER DATABASE {} SET datestyle = 'SQL, DMY'", db.name()),
        "ALTER TABLE items ALTER n TYPE numeric(20, 5)".to_owned(),
    ] {
        execute(&mut db.superuser(), &sql);
        execute(
            &mut db.app(),
            "UPDATE items SET name = name || '!', at = '2024-02-29 12:00:00+00' WHERE id = 1",
        );
    }
    assert_eq!(lines(db, "items").len(), 9);
    let at =
        "SELECT array_agg(DISTINCT data_after ->> 'at') FROM audit_changes WHERE op = 'update'";
    assert_eq!(
        value(&mut db.superuser(), at),
        json!(["2024-02-29T12:00:00+00:00"])
    );
    execute(&mut db.app(), "UPDATE items SET name = 'c', n = n");
    let logged = "SELECT array_agg(data_after ->> 'name' ORDER BY id) FROM (SELECT DISTINCT ON (table_pk) * FROM audit_changes c ORDER BY table_pk, c.id DESC) c";
    assert_eq!(value(&mut db.superuser(), logged), json!(["c", "c"]));
}
