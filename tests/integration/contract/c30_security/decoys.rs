//! What others plant in a path of names never runs.

use super::*;

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
    let indexed = "enable_seqscan=off";
    let pins = json!([
        path,
        "TimeZone=UTC",
        "DateStyle=ISO",
        "IntervalStyle=iso_8601",
        "extra_float_digits=1",
        "bytea_output=hex",
        "lc_monetary=C",
        indexed
    ]);
    assert_eq!(
        config,
        [
            json!({"name": "threadline_capture_n", "config": pins}),
            json!({"name": "threadline_ddl_drop", "config": [path]}),
            json!({"name": "threadline_ddl_end", "config": [path]}),
            json!({"name": "threadline_end_gap_vn", "config": [path]}),
            json!({"name": "threadline_record_action_vn", "config": [path, indexed]}),
            json!({"name": "threadline_require_changes_vn", "config": [path, indexed]}),
            json!({"name": "threadline_seal_vn", "config": [path, indexed]}),
            json!({"name": "threadline_sealed_vn", "config": [path, indexed]}),
            json!({"name": "threadline_transaction_vn", "config": [path, indexed]}),
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
