//! Rights that are granted for all tables, sequences and functions of a schema: ordinary administration, and no way into
//! the log.

use super::*;

const TABLES: [&str; 5] = [
    "audit_changes",
    "audit_transactions",
    "audit_commits",
    "audit_actions",
    "audit_tables",
];

/// A role that is granted everything there is in `public`, and may read files.
fn favourite(db: &TestDb) -> String {
    let role = role(db, "favourite", "LOGIN");
    execute(
        &mut db.superuser(),
        &format!("GRANT pg_read_server_files TO {role}"),
    );
    role
}

/// Rights on all that is in the schema, given after the installation by a superuser.
fn granted(kind: Kind) -> (TestDb, PgConnection) {
    let db = log(kind);
    audited(&db);
    let role = favourite(&db);
    execute(
        &mut db.superuser(),
        &format!(
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role};
             GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO {role}"
        ),
    );
    let conn = connect(&db, &role);
    (db, conn)
}

/// The same, and the rights put right afterwards: PostgreSQL has nothing that would refuse what a right to create triggers, or
/// one on a sequence, allows until then.
fn granted_and_protected(kind: Kind) -> (TestDb, PgConnection) {
    let (db, conn) = granted(kind);
    execute(&mut db.superuser(), "SELECT threadline_protect_v1()");
    (db, conn)
}

/// Rights on all that will be in the schema, given before the installation.
fn by_default(kind: Kind) -> (TestDb, PgConnection) {
    let db = TestDb::empty();
    let favourite = favourite(&db);
    let grants = ["TABLES", "SEQUENCES", "FUNCTIONS"].map(|objects| {
        format!("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON {objects} TO {favourite}; ALTER DEFAULT PRIVILEGES GRANT ALL ON {objects} TO {favourite};")
    });
    install(&db, kind, &grants.concat());
    audited(&db);
    let conn = connect(&db, &favourite);
    (db, conn)
}

/// Everything in the log.
fn contents(db: &TestDb) -> Value {
    let of = |table: &&str| {
        format!("(SELECT coalesce(jsonb_agg(t ORDER BY t::text), '[]') FROM {table} t)")
    };
    let tables: Vec<_> = TABLES.iter().map(of).collect();
    value(
        &mut db.superuser(),
        &format!("SELECT jsonb_build_array({})", tables.join(", ")),
    )
}

/// Something in every table of the log, and an action that was recorded.
fn fill(db: &TestDb) {
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'); SELECT threadline_record_action_v1('written')",
    );
}

/// A copy of an entry that no constraint refuses.
fn copies(table: &str) -> String {
    let other = match table {
        "audit_commits" => "{}",
        "audit_changes" => "{\"id\": 1000000}",
        "audit_tables" => "{\"id\": 1000000, \"table_name\": \"forged\"}",
        _ => "{\"id\": \"00000000-0000-0000-0000-000000000001\"}",
    };
    format!("SELECT (jsonb_populate_record(t, '{other}')).* FROM {table} t LIMIT 1")
}

fn assert_tables_hold((db, mut conn): (TestDb, PgConnection)) {
    fill(&db);
    let before = contents(&db);
    let mut written = Vec::new();
    for table in TABLES {
        let file = db.postgres().dir().join(format!("{}.{table}", db.name()));
        execute(
            &mut db.superuser(),
            &format!("COPY ({}) TO '{}'", copies(table), file.display()),
        );
        let column = if table == "audit_tables" {
            "horizon = '-infinity'"
        } else if table == "audit_actions" {
            "name = 'forged'"
        } else {
            "occurred_at = now()"
        };
        let column = if table == "audit_changes" {
            "op = 'insert'"
        } else {
            column
        };
        for sql in [
            format!("INSERT INTO {table} {}", copies(table)),
            format!("COPY {table} FROM '{}'", file.display()),
            format!("UPDATE {table} SET {column}"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table} CASCADE"),
            format!("TRUNCATE {} CASCADE", TABLES.join(", ")),
            format!("ALTER TABLE {table} DISABLE TRIGGER USER"),
        ] {
            if let Err(refusal) = try_execute(&mut conn, &format!("BEGIN; {sql}")) {
                let expected = [
                    "permission denied",
                    "append-only",
                    "row-level security",
                    "threadline",
                    "must be owner",
                ];
                assert!(
                    expected.iter().any(|text| refusal.contains(text)),
                    "{sql}: {refusal}"
                );
            } else {
                written.push(sql);
            }
            execute(&mut conn, "ROLLBACK");
        }
    }
    assert_eq!(written, [] as [&str; 0]);
    assert_eq!(contents(&db), before);
}

/// GRANT ALL has the right to create triggers: they would run as whoever writes to the log.
fn assert_triggers_hold((db, mut conn): (TestDb, PgConnection)) {
    execute(
        &mut db.superuser(),
        &format!("GRANT CREATE ON SCHEMA public TO {0}_favourite", db.name()),
    );
    execute(
        &mut conn,
        &format!(
            "CREATE FUNCTION public.forged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; RETURN NULL; END $$",
            tells(&db, "TG_TABLE_NAME")
        ),
    );
    for table in TABLES {
        let attach = format!(
            "CREATE TRIGGER forged AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION public.forged()"
        );
        let _ = try_execute(&mut conn, &attach);
    }
    fill(&db);
    assert_eq!(decoys_of(&db), [] as [&str; 0]);
}

fn assert_sequences_hold((db, mut conn): (TestDb, PgConnection)) {
    fill(&db);
    let sequences = rows(
        &mut db.superuser(),
        "SELECT relname AS name FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace AND relname LIKE 'audit\\_%'",
    );
    assert!(!sequences.is_empty());
    let mut moved = Vec::new();
    for sequence in sequences {
        let name = sequence["name"].as_str().unwrap();
        for call in [format!("setval('{name}', 1)"), format!("nextval('{name}')")] {
            if try_execute(&mut conn, &format!("SELECT {call}")).is_ok() {
                moved.push(call);
            }
        }
    }
    assert_eq!(moved, [] as [&str; 0]);
}

/// Trigger functions as triggers of a table of the attacker's, and all others called with NULLs.
fn assert_functions_hold((db, mut conn): (TestDb, PgConnection)) {
    fill(&db);
    execute(
        &mut db.superuser(),
        &format!(
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}_favourite",
            db.name()
        ),
    );
    let before = contents(&db);
    let functions = rows(
        &mut db.superuser(),
        "SELECT p.proname AS name, p.prosecdef AS definer, p.prorettype = 'trigger'::regtype AS trigger, (
             SELECT string_agg(CASE WHEN t.typtype = 'p' THEN 'NULL::public.items' ELSE format('NULL::%I.%I', t.typnamespace::regnamespace, t.typname) END, ', ' ORDER BY a.i)
             FROM unnest(p.proargtypes) WITH ORDINALITY a(oid, i) JOIN pg_type t ON t.oid = a.oid) AS arguments
         FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'threadline%'",
    );
    for table in [
        "audit_transactions",
        "audit_actions",
        "audit_tables",
        "items",
        "audit_commits",
    ] {
        execute(
            &mut conn,
            &format!("CREATE TEMP TABLE forged_{table} AS SELECT * FROM public.{table}"),
        );
    }
    let mut fired = Vec::new();
    for function in &functions {
        let name = function["name"].as_str().unwrap();
        if function["trigger"] == false {
            // An action may be recorded, but not without a name.
            let _ = try_execute(
                &mut conn,
                &format!(
                    "SELECT public.{name}({})",
                    function["arguments"].as_str().unwrap_or_default()
                ),
            );
            continue;
        }
        for table in [
            "audit_transactions",
            "audit_actions",
            "audit_tables",
            "items",
            "audit_commits",
        ] {
            for (event, statement) in [
                (
                    "INSERT",
                    format!("INSERT INTO forged_{table} SELECT * FROM forged_{table} LIMIT 1"),
                ),
                (
                    "UPDATE",
                    format!(
                        "UPDATE forged_{table} SET {0} = NULL",
                        if table == "audit_commits" {
                            "occurred_at"
                        } else {
                            "id"
                        }
                    ),
                ),
                ("DELETE", format!("DELETE FROM forged_{table}")),
            ] {
                let attach = format!(
                    "BEGIN; CREATE TRIGGER forged AFTER {event} ON pg_temp.forged_{table} FOR EACH ROW EXECUTE FUNCTION public.{name}()"
                );
                if try_execute(&mut conn, &attach).is_ok()
                    && try_execute(&mut conn, &statement).is_ok()
                    && function["definer"] == true
                {
                    fired.push(format!("{name} after {event} on a table like {table}"));
                }
                execute(&mut conn, "ROLLBACK");
            }
        }
    }
    assert_eq!(fired, [] as [&str; 0], "ran as the owner of the log");
    assert_eq!(contents(&db), before);
}

macro_rules! on_all_grants {
    ($($name:ident: $granted:ident, $holds:ident),+ $(,)?) => { $(
        mod $name {
            use super::*;

            #[test]
            fn granted_later_by_the_migrator() { $holds($granted(Kind::Migrator)); }
            #[test]
            fn granted_later_with_a_role() { $holds($granted(Kind::Role)); }
            #[test]
            fn by_default_of_the_migrator() { $holds(by_default(Kind::Migrator)); }
            #[test]
            fn by_default_with_a_role() { $holds(by_default(Kind::Role)); }
        }
    )+ };
}

on_all_grants!(
    tables: granted, assert_tables_hold,
    triggers: granted_and_protected, assert_triggers_hold,
    sequences: granted_and_protected, assert_sequences_hold,
    functions: granted, assert_functions_hold,
);
