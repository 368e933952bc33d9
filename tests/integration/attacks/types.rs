//! Types in `pg_temp` with the names of PostgreSQL's: what a function declared by their names would run their checks, as
//! whoever calls it later.

use super::*;

on_both_kinds!(
    by_the_application,
    by_a_role_that_may_only_connect,
    by_a_reader_who_writes,
    by_another_role_of_the_session,
    a_connection_that_was_discarded,
);

/// Creates a domain for every type of `pg_catalog`. Each tells when its check runs as another role than `own`.
fn shadow_types(conn: &mut PgConnection, db: &TestDb, own: &[&str]) {
    let own: Vec<_> = own.iter().map(|role| format!("'{role}'")).collect();
    execute(
        conn,
        &format!(
            "CREATE FUNCTION pg_temp.decoy(v anyelement, what pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS $decoy$ BEGIN
                 IF current_user NOT IN ({}) THEN {}; END IF;
                 RETURN true; END $decoy$;
             CREATE TYPE pg_temp.record AS (n integer);
             DO $do$ DECLARE type pg_catalog.name; BEGIN
                 FOR type IN SELECT t.typname FROM pg_catalog.pg_type t
                     WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
                       AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)
                       AND t.typname NOT LIKE 'pg\\_%tree' AND t.typname NOT LIKE 'pg\\_%list' LOOP
                     EXECUTE pg_catalog.format('CREATE DOMAIN pg_temp.%1$I AS pg_catalog.%1$I CHECK (pg_temp.decoy(VALUE, %1$L))', type);
                 END LOOP;
             END $do$",
            own.join(", "),
            tells(db, "what")
        ),
    );
    let shadowed = "SELECT count(*) FROM pg_catalog.pg_type WHERE typnamespace = pg_catalog.pg_my_temp_schema() AND typtype = 'd'";
    let shadowed = value(conn, shadowed).as_i64().unwrap();
    assert!(shadowed > 50, "{shadowed} domains");
}

/// Calls of every function of the log that the role may execute, with NULLs: in both collations, and for a number and a
/// row where any type will do. None of them names a type by `search_path`.
fn calls(conn: &mut PgConnection) -> Vec<String> {
    let mut calls = Vec::new();
    for collation in ["", " COLLATE pg_catalog.\"C\""] {
        for element in ["pg_catalog.int8", "public.items"] {
            let sql = format!(
                "SELECT format('SELECT public.%I(%s)', p.proname, (
                     SELECT string_agg(CASE WHEN t.typtype = 'p' THEN 'NULL::{element}'
                         ELSE format('NULL::%I.%I', t.typnamespace::regnamespace, t.typname) || CASE WHEN t.typcollation <> 0 THEN '{collation}' ELSE '' END END, ', ' ORDER BY a.i)
                     FROM unnest(p.proargtypes) WITH ORDINALITY a(oid, i) JOIN pg_catalog.pg_type t ON t.oid = a.oid)) AS call
                 FROM pg_catalog.pg_proc p
                 WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'threadline%'
                   AND p.prorettype <> 'trigger'::regtype AND has_function_privilege(p.oid, 'EXECUTE')"
            );
            calls.extend(
                rows(conn, &sql)
                    .iter()
                    .map(|row| row["call"].as_str().unwrap().to_owned()),
            );
        }
    }
    calls.extend(
        [
            "SELECT public.threadline_actor_v1('{\"type\": \"user\", \"id\": \"1\"}' COLLATE pg_catalog.\"C\")",
            "SELECT public.threadline_record_action_v1('tried')",
            "SELECT public.threadline_as_of('public.items', '{\"id\": 0}', pg_catalog.now())",
            "SELECT public.threadline_history('public.items', '{\"id\": 0}')",
        ]
        .map(str::to_owned),
    );
    calls
}

/// Shadows the types and then has every function compiled that it may call.
fn taint(conn: &mut PgConnection, db: &TestDb, own: &[&str]) {
    let calls = calls(conn);
    shadow_types(conn, db, own);
    for call in calls {
        let _ = try_execute(conn, &call); // most refuse NULL
    }
}

fn write(conn: &mut PgConnection) {
    for statement in ["items", "notes"]
        .iter()
        .flat_map(|table| everything(table))
    {
        execute(conn, &statement);
    }
    execute(conn, "SELECT public.threadline_record_action_v1('written')");
}

fn assert_held(db: &TestDb) {
    assert_eq!(decoys_of(db), [] as [&str; 0]);
    assert_everything_is_recorded(db, 1);
}

/// The decoys themselves: a check that runs as another role is told.
#[test]
fn a_check_that_runs_is_told() {
    let db = log(Kind::Migrator);
    execute(
        &mut db.owner(),
        "CREATE TABLE items (); CREATE FUNCTION threadline_tried() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER AS
             $$ DECLARE v jsonb; BEGIN RETURN 1; END $$",
    );
    let mut app = db.app();
    taint(&mut app, &db, &["tl_app"]);
    assert_eq!(decoys_of(&db), ["jsonb ran as tl_owner"]);
}

fn by_the_application(db: &TestDb) {
    audited(db);
    let mut app = db.app();
    taint(&mut app, db, &["tl_app"]);
    write(&mut app);
    assert_held(db);
}

fn by_a_role_that_may_only_connect(db: &TestDb) {
    audited(db);
    let other = role(db, "other", "LOGIN");
    taint(&mut connect(db, &other), db, &[&other]);
    assert_eq!(decoys_of(db), [] as [&str; 0]);
    write(&mut db.app());
    assert_held(db);
}

fn by_a_reader_who_writes(db: &TestDb) {
    audited(db);
    let mut reverter = db.reverter();
    taint(&mut reverter, db, &["tl_reverter"]);
    write(&mut reverter);
    assert_held(db);
}

/// As PostgREST uses a session.
fn by_another_role_of_the_session(db: &TestDb) {
    audited(db);
    let other = role(db, "other", "");
    let gate = role(db, "gate", "LOGIN NOINHERIT");
    execute(
        &mut db.superuser(),
        &format!("GRANT {other}, tl_app, tl_auditor TO {gate}"),
    );
    let mut conn = connect(db, &gate);
    let own = [&*gate, &*other, "tl_app", "tl_auditor"];
    execute(&mut conn, &format!("SET ROLE {other}"));
    taint(&mut conn, db, &own);
    execute(&mut conn, "SET ROLE tl_auditor");
    for call in calls(&mut conn) {
        let _ = try_execute(&mut conn, &call);
    }
    execute(&mut conn, "SET ROLE tl_app");
    write(&mut conn);
    assert_held(db);
}

/// The types are gone then. Fails with "cache lookup failed" if a function of the session still names one.
fn a_connection_that_was_discarded(db: &TestDb) {
    audited(db);
    let mut app = db.app();
    taint(&mut app, db, &["tl_app"]);
    execute(&mut app, "DISCARD ALL");
    write(&mut app);
    assert_held(db);
}
