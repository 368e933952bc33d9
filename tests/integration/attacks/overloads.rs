//! Overloads, operators and casts of those who may create objects in the schema of the log: as on PostgreSQL 14 and in
//! databases that were upgraded from it, where PUBLIC may.

use super::*;

on_both_kinds!(overloads_never_run, planted_names_never_run);

/// Lets the application create objects beside the log, after the installation.
fn open_schema(db: &TestDb) {
    audited(db);
    db.audited(
        "parted",
        "CREATE TABLE parted (id bigint PRIMARY KEY, name text, doc json) PARTITION BY RANGE (id);
         CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (10);
         CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (10) TO (1000)",
    );
    db.create("ALTER TABLE parted_low OWNER TO tl_owner");
    execute(
        &mut db.superuser(),
        "GRANT CREATE ON SCHEMA public TO tl_app",
    );
}

/// What an argument of a type may also be passed as, so that a function of that type fits better.
fn alternatives(type_name: &str) -> Vec<&'static str> {
    match type_name {
        "anyelement" => vec![
            "public.items",
            "public.notes",
            "public.parted",
            "public.parted_low",
            "record",
        ],
        "text" => vec![
            "name", "varchar", "bpchar", "\"char\"", "cstring", "boolean", "integer", "bigint",
        ],
        "oid" => vec!["regclass", "integer", "bigint", "text"],
        "regclass" => vec!["oid", "text", "integer", "bigint"],
        "jsonb" => vec!["text", "json", "varchar", "jsonb[]"],
        "json" => vec!["text", "jsonb"],
        "text[]" => vec!["name[]", "varchar[]", "text"],
        "jsonb[]" => vec!["text", "json[]", "text[]", "jsonb"],
        "boolean" => vec!["text", "integer"],
        "integer" => vec!["smallint", "bigint", "numeric", "text"],
        "bigint" => vec!["integer", "smallint", "numeric", "text"],
        "uuid" => vec!["text", "varchar"],
        "timestamp with time zone" => vec!["text", "timestamp", "date"],
        _ => vec!["text"],
    }
}

/// Other argument lists for a function: each with one argument of another type, all alike with another type, both with a
/// row where any type will do, and without the arguments that have defaults.
fn variants(arguments: &[String]) -> Vec<Vec<String>> {
    let mut bases = vec![arguments.to_vec()];
    for row in alternatives("anyelement") {
        let of = |a: &String| {
            if a == "anyelement" {
                row.to_owned()
            } else {
                a.clone()
            }
        };
        bases.push(arguments.iter().map(of).collect());
    }
    let mut found = bases.clone();
    for base in &bases {
        for at in 0..base.len() {
            for other in alternatives(&base[at]) {
                let mut one = base.clone();
                one[at] = other.to_owned();
                found.push(one);
                let all = base.iter().map(|a| {
                    if *a == base[at] {
                        other.to_owned()
                    } else {
                        a.clone()
                    }
                });
                found.push(all.collect());
            }
        }
        // Everything that may be passed as an unknown literal, as text.
        let text = |a: &String| {
            if a.contains('.') {
                a.clone()
            } else {
                "text".to_owned()
            }
        };
        found.push(base.iter().map(text).collect());
    }
    found.sort();
    found.dedup();
    found.retain(|variant| variant != arguments);
    found
}

/// Creates an overload of every function of the log for each variant of its arguments, as the application. Returns how
/// many there are.
fn overload(db: &TestDb) -> usize {
    let mut app = db.app();
    let body = format!(
        "BEGIN {}; RAISE EXCEPTION 'decoy ran as %', current_user; END",
        tells(db, "'overload'")
    );
    let functions = rows(
        &mut db.superuser(),
        "SELECT p.proname AS name, pg_get_function_result(p.oid) AS result, p.proargnames AS names, p.pronargdefaults AS defaults,
             ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes) WITH ORDINALITY a(t, i) ORDER BY i) AS arguments
         FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'threadline%' AND p.prorettype <> 'trigger'::regtype",
    );
    for function in &functions {
        let name = function["name"].as_str().unwrap();
        let list = |field: &str| -> Vec<String> {
            let list = function[field].as_array();
            list.into_iter()
                .flatten()
                .map(|t| t.as_str().unwrap().to_owned())
                .collect()
        };
        let (arguments, names) = (list("arguments"), list("names"));
        let mut create = |arguments: Vec<String>, any_result: &str| {
            let result = function["result"]
                .as_str()
                .unwrap()
                .replace("anyelement", any_result);
            let sql = format!(
                "CREATE FUNCTION public.{name}({}) RETURNS {result} LANGUAGE plpgsql AS $decoy$ {body} $decoy$",
                arguments.join(", ")
            );
            let _ = try_execute(&mut app, &sql); // some have no fitting result, or exist already
        };
        for variant in variants(&arguments) {
            let row = variant.iter().find(|a| a.contains('.')).cloned();
            create(variant, &row.unwrap_or_else(|| "anyelement".to_owned()));
        }
        // With fewer arguments, by place and by name.
        let needed =
            arguments.len() - usize::try_from(function["defaults"].as_u64().unwrap()).unwrap();
        let named = |at: &usize| format!("{} {}", names[*at], arguments[*at]);
        for kept in needed..arguments.len() {
            create((0..kept).map(|at| named(&at)).collect(), "integer");
            for second in kept..arguments.len() {
                let places = (0..needed).chain([kept, second]);
                create(
                    places
                        .collect::<std::collections::BTreeSet<_>>()
                        .iter()
                        .map(named)
                        .collect(),
                    "integer",
                );
            }
        }
    }
    let created = "SELECT count(*) FROM pg_proc WHERE proowner = 'tl_app'::regrole";
    let created = value(&mut db.superuser(), created).as_u64().unwrap();
    usize::try_from(created).unwrap()
}

/// Writes in every way, with the path that everybody has and with one where `public` comes first.
fn write(db: &TestDb) {
    for path in ["\"$user\", public", "pg_temp, public, pg_catalog"] {
        let mut app = db.app();
        execute(&mut app, &format!("SET search_path = {path}"));
        let parted = [
            "INSERT INTO public.parted VALUES (1, 'a', '{}'), (2, 'a', '{\"a\": \"\\u0000\"}')",
            "UPDATE public.parted SET name = 'b' WHERE id OPERATOR(pg_catalog.=) 1::pg_catalog.int8",
            "UPDATE public.parted SET id = 11 WHERE id OPERATOR(pg_catalog.=) 1::pg_catalog.int8",
            "DELETE FROM public.parted_low",
            "TRUNCATE public.parted",
        ];
        for table in ["items", "notes"] {
            for statement in everything(table) {
                execute(&mut app, &statement);
            }
        }
        for statement in parted {
            execute(&mut app, statement);
        }
    }
}

fn assert_held(db: &TestDb) {
    assert_eq!(decoys_of(db), [] as [&str; 0]);
    assert_everything_is_recorded(db, 2);
    let parted = [
        "insert 1",
        "insert 2",
        "update 1",
        "delete 1",
        "insert 11",
        "delete 2",
        "truncate",
    ];
    assert_eq!(lines(db, "parted"), parted.repeat(2));
}

/// A function with exactly the types of a call wins over one that they have to be converted for.
fn overloads_never_run(db: &TestDb) {
    open_schema(db);
    let created = overload(db);
    assert!(created > 1000, "{created} overloads");
    write(db);
    // Who may switch capture off records an action by it.
    let mut operator = connect(db, "tl_operator");
    execute(
        &mut operator,
        "BEGIN; SET LOCAL threadline.capture = 'off'; INSERT INTO public.items VALUES (9); COMMIT",
    );
    assert_held(db);
}

/// Creates decoys with the names of the functions and operators of `pg_catalog` that the bodies of the log use: of the
/// same types, and of types that fit better. The latter would win wherever their schema is in the path at all.
fn plant(db: &TestDb, schema: &str, app: &mut PgConnection) {
    execute(
        app,
        &format!(
            "CREATE TYPE {schema}.mood AS ENUM ('good');
             CREATE FUNCTION {schema}.mood_text({schema}.mood) RETURNS text LANGUAGE plpgsql AS $decoy$ BEGIN {told}; RETURN ''; END $decoy$;
             CREATE CAST ({schema}.mood AS text) WITH FUNCTION {schema}.mood_text({schema}.mood) AS IMPLICIT;
             DO $do$ DECLARE f pg_catalog.record; o pg_catalog.record; name pg_catalog.text; BEGIN
                 FOR f IN SELECT DISTINCT p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments,
                         pg_catalog.pg_get_function_result(p.oid) AS result
                     FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
                       AND EXISTS (SELECT FROM pg_catalog.pg_proc b WHERE b.pronamespace = 'public'::regnamespace AND b.proname LIKE 'threadline%'
                                   AND b.proowner <> 'tl_app'::regrole AND b.prosrc ~ ('\\m' || p.proname || '\\(')) LOOP
                     FOREACH name IN ARRAY ARRAY[f.arguments, 'public.items', 'public.items, text', 'public.items, public.items', 'varchar', 'name', 'name, integer', 'varchar, boolean', 'name, boolean', 'regclass'] LOOP
                         BEGIN
                             EXECUTE pg_catalog.format('CREATE FUNCTION {schema}.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, name, f.result,
                                 $decoy$ BEGIN {told}; RAISE EXCEPTION 'decoy ran as %', current_user; END $decoy$);
                         EXCEPTION WHEN OTHERS THEN NULL;
                         END;
                     END LOOP;
                 END LOOP;
                 FOR o IN SELECT DISTINCT oprname, oprleft::regtype AS l, oprright::regtype AS r FROM pg_catalog.pg_operator
                     WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprleft <> 0
                       AND (oprleft IN ('text'::regtype, 'jsonb'::regtype, 'oid'::regtype, 'name'::regtype, 'int4'::regtype, 'int8'::regtype,
                                        'bool'::regtype, 'uuid'::regtype, 'timestamptz'::regtype, 'xid'::regtype, 'anyarray'::regtype)
                            OR oprleft = 'record'::regtype)
                       AND EXISTS (SELECT FROM pg_catalog.pg_proc b WHERE b.pronamespace = 'public'::regnamespace AND b.proname LIKE 'threadline%'
                                   AND pg_catalog.strpos(b.prosrc, ' ' || oprname || ' ') > 0) LOOP
                     IF o.l = 'record'::regtype THEN
                         o.l := 'public.items'::regtype; o.r := 'public.items'::regtype;
                     END IF;
                     BEGIN
                         EXECUTE pg_catalog.format('CREATE FUNCTION {schema}.decoy_operator(%s, %s) RETURNS boolean LANGUAGE plpgsql AS %L', o.l, o.r,
                             $decoy$ BEGIN {told}; RAISE EXCEPTION 'decoy ran as %', current_user; END $decoy$);
                     EXCEPTION WHEN duplicate_function THEN NULL;
                     END;
                     BEGIN
                         EXECUTE pg_catalog.format('CREATE OPERATOR {schema}.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = {schema}.decoy_operator)', o.oprname, o.l, o.r);
                     EXCEPTION WHEN duplicate_function THEN NULL;
                     END;
                 END LOOP;
             END $do$",
            told = tells(db, "'planted'")
        ),
    );
}

fn planted_names_never_run(db: &TestDb) {
    open_schema(db);
    let mut app = db.app();
    plant(db, "public", &mut app);
    let planted = value(
        &mut db.superuser(),
        "SELECT jsonb_build_array((SELECT count(*) FROM pg_proc WHERE proowner = 'tl_app'::regrole),
                                  (SELECT count(*) FROM pg_operator WHERE oprowner = 'tl_app'::regrole))",
    );
    assert!(
        planted[0].as_u64() > Some(200) && planted[1].as_u64() > Some(50),
        "{planted}"
    );
    write(db);
    execute(&mut db.superuser(), "DROP OWNED BY tl_app CASCADE"); // they would be in the way of the tests' own queries
    assert_held(db);
}
