//! The rights on the log are those that are documented, whatever was granted before or is granted later.

use super::*;

const TABLES: [&str; 5] = [
    "audit_tables",
    "audit_transactions",
    "audit_changes",
    "audit_actions",
    "audit_commits",
];

/// Captured, with the log under a role of its own or not; `before` runs as the migrator, ahead of all of it.
fn installed(with_owner: bool, before: &str) -> TestDb {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    execute(&mut migrator.connect(), before);
    let application = if with_owner {
        migrator.application(&[])
    } else {
        Application::new(&[])
    };
    application.run(&mut migrator.connect());
    execute(&mut db.app(), "INSERT INTO shop.items VALUES (1, 1)");
    db
}

fn assert_refused(conn: &mut PgConnection, sql: &str, reasons: &[&str]) {
    let error = try_execute(conn, sql).expect_err(sql);
    let told = reasons.iter().any(|reason| error.contains(reason));
    assert!(told, "{sql}: {error}");
}

fn writes(table: &str) -> [String; 4] {
    let (column, row) = match table {
        "audit_tables" => ("fingerprint", "SELECT * FROM audit_tables"),
        "audit_transactions" => (
            "source",
            "SELECT gen_random_uuid(), pg_current_xact_id(), now()",
        ),
        "audit_changes" => ("op", "SELECT * FROM audit_changes"),
        "audit_actions" => ("name", "SELECT gen_random_uuid(), gen_random_uuid(), 'a'"),
        _ => ("committed_at", "SELECT gen_random_uuid(), now(), now()"),
    };
    [
        format!("INSERT INTO {table} {row}"),
        format!("UPDATE {table} SET {column} = {column}"),
        format!("DELETE FROM {table}"),
        format!("TRUNCATE {table}"),
    ]
}

/// R7: what default privileges give is taken away, on tables, columns, sequences and functions.
#[test]
fn default_privileges_give_nothing() {
    for with_owner in [false, true] {
        let db = installed(
            with_owner,
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO tl_app;
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO tl_app;
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO tl_app WITH GRANT OPTION",
        );
        let mut app = db.app();
        for table in TABLES {
            for write in writes(table) {
                assert_refused(&mut app, &write, &["permission denied for table"]);
            }
        }
        for sql in [
            "SELECT nextval('audit_changes_id_seq')",
            "SELECT setval('audit_changes_id_seq', 1)",
            "SELECT setval('audit_tables_id_seq', 1)",
            "SELECT threadline_image_sql_v1('shop.items'::regclass, '{}', 'i', '{}')",
        ] {
            assert_refused(&mut app, sql, &["permission denied for"]);
        }
        for function in [
            "threadline_seal_v1",
            "threadline_capture_1",
            "threadline_guard_v1",
        ] {
            let attach = format!(
                "CREATE TEMP TABLE own (id uuid); CREATE TRIGGER forge AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION public.{function}()"
            );
            assert_refused(&mut app, &attach, &["permission denied for function"]);
        }
    }
}

/// R7: what is granted later gives nothing, and says so.
#[test]
fn a_later_grant_gives_nothing() {
    for with_owner in [false, true] {
        let db = installed(with_owner, "SELECT");
        execute(
            &mut db.superuser(),
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO tl_app",
        );
        let contents =
            TABLES.map(|table| format!("(SELECT jsonb_agg(to_jsonb(t)) FROM {table} t)"));
        let contents = format!("SELECT jsonb_build_array({})", contents.join(", "));
        let before = value(&mut db.superuser(), &contents);
        let mut app = db.app();
        let reasons = [
            "violates row-level security policy",
            "is append-only",
            "is the registry of audited tables",
            "is written by its owner",
        ];
        // One action, for the UPDATE and the DELETE.
        execute(
            &mut db.superuser(),
            "INSERT INTO audit_actions (id, transaction_id, name, status, inserted_at, session_user_name) VALUES (gen_random_uuid(), gen_random_uuid(), 'a', 'ok', now(), 'a')",
        );
        let with_action = value(&mut db.superuser(), &contents);
        assert_ne!(before, with_action);
        for table in TABLES {
            for write in writes(table) {
                assert_refused(&mut app, &write, &reasons);
            }
        }
        // COPY is refused as such, where the right to write is there.
        assert_refused(
            &mut app,
            "COPY audit_commits FROM STDIN",
            &["row-level security"],
        );
        assert_eq!(value(&mut db.superuser(), &contents), with_action);
        execute(&mut app, "UPDATE shop.items SET n = 2");

        // Protecting again takes it away; columns too.
        execute(
            &mut db.superuser(),
            "GRANT UPDATE (op), SELECT (id) ON audit_changes TO tl_app; GRANT UPDATE (op) ON audit_changes TO tl_auditor;
             GRANT DELETE, INSERT ON audit_changes TO threadline_reader;
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO tl_app; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC",
        );
        execute(&mut db.superuser(), "SELECT threadline_protect_v1()");
        for sql in [
            "SELECT id FROM audit_changes",
            "SELECT FROM audit_tables",
            "SELECT nextval('audit_changes_id_seq')",
            "SELECT threadline_history('shop.items', '{}')",
        ] {
            assert_refused(&mut app, sql, &["permission denied for"]);
        }
        assert_refused(
            &mut db.auditor(),
            "UPDATE audit_changes SET op = 'insert'",
            &["permission denied for table audit_changes"],
        );
        let reader =
            "SELECT has_table_privilege('threadline_reader', 'audit_changes', 'INSERT, DELETE')";
        assert_eq!(value(&mut db.superuser(), reader), false);
        execute(&mut app, "UPDATE shop.items SET n = 3");
        assert_eq!(Item::history(1).load(&mut db.auditor()).unwrap().len(), 3);
    }
}

/// Who may call what, the owner left out.
#[test]
fn functions_are_granted_to_roles_and_to_nobody_else() {
    for with_owner in [false, true] {
        let db = installed(with_owner, "SELECT");
        let granted = "SELECT jsonb_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
            FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            WHERE p.proname LIKE 'threadline%' AND a.grantee <> p.proowner";
        let mut superuser = db.superuser();
        let roles = json!(["threadline_reader", "threadline_recorder"]);
        assert_eq!(value(&mut superuser, granted), roles);
        let callable = |role: &str, condition: &str| {
            format!(
                "SELECT coalesce(jsonb_agg(proname ORDER BY proname), '[]') FROM pg_proc
                 WHERE pronamespace = 'public'::regnamespace AND {condition} AND has_function_privilege('{role}', oid, 'EXECUTE')"
            )
        };
        let recorder = value(&mut superuser, &callable("threadline_recorder", "true"));
        let expected = json!([
            "threadline_record_action_v1",
            "threadline_transaction_id_v1",
            "threadline_transaction_v1"
        ]);
        assert_eq!(recorder, expected);
        // A reader writes nothing, and runs nothing with more rights than its own.
        let condition = "(prosecdef OR provolatile = 'v' OR prorettype = 'trigger'::regtype)";
        let reader = value(&mut superuser, &callable("threadline_reader", condition));
        let expected = json!([
            "threadline_live",
            "threadline_revert",
            "threadline_run_v1",
            "threadline_undone_v1"
        ]);
        assert_eq!(reader, expected);
    }
}

#[test]
fn readers_do_not_record_and_recorders_do_not_read() {
    let db = installed(false, "SELECT");
    let record = "SELECT threadline_record_action_v1('tried')";
    assert_refused(
        &mut db.auditor(),
        record,
        &["permission denied for function threadline_record_action_v1"],
    );
    execute(&mut db.app(), record);
    assert_refused(
        &mut db.app(),
        "SELECT FROM audit_actions",
        &["permission denied"],
    );

    // Who is in no role at all is captured, and nothing else.
    let nobody = format!("{}_nobody", db.name());
    execute(
        &mut db.superuser(),
        &format!(
            "CREATE ROLE {nobody} LOGIN; GRANT USAGE ON SCHEMA shop TO {nobody}; GRANT ALL ON shop.items TO {nobody}"
        ),
    );
    let mut nobody = PgConnection::establish(&db.url(&nobody)).unwrap();
    execute(
        &mut nobody,
        r#"SELECT set_config('threadline.actor_ref', '{"type": "user", "id": "7"}', true); UPDATE shop.items SET n = 2"#,
    );
    assert_refused(
        &mut nobody,
        record,
        &["permission denied for function threadline_record_action_v1"],
    );
    let changes = Item::history(1).load(&mut db.auditor()).unwrap();
    assert_eq!(changes[0].actor(), Some(&ActorRef::user(7).unwrap()));
}

#[test]
fn retention_deletes_and_does_nothing_else() {
    for with_owner in [false, true] {
        let db = installed(with_owner, "SELECT");
        let mut superuser = db.superuser();
        execute(&mut superuser, "SET ROLE threadline_retention");
        let reasons = ["permission denied for table"];
        for table in TABLES {
            for write in [0, 1, 3] {
                assert_refused(&mut superuser, &writes(table)[write], &reasons);
            }
        }
        assert_refused(&mut superuser, "DELETE FROM audit_tables", &reasons);
        execute(
            &mut superuser,
            "DELETE FROM audit_changes; DELETE FROM audit_commits; DELETE FROM audit_transactions; DELETE FROM audit_actions",
        );
        let left = "SELECT (SELECT count(*) FROM audit_changes) + (SELECT count(*) FROM audit_commits) + (SELECT count(*) FROM audit_transactions)";
        assert_eq!(value(&mut superuser, left), 0);
    }
}
