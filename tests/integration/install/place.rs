//! Where the log may be: nobody else creates objects beside it, and none of its objects belongs to somebody else.

use super::*;

/// With a role of its own for the log, and without.
const OWNERS: [bool; 2] = [false, true];

/// An application that isn't installed yet, whose migrator is no superuser.
fn application(migrator: &Migrator<'_>, with_owner: bool, install: &[&str]) -> Application {
    if with_owner {
        migrator.application(install)
    } else {
        Application::new(install)
    }
}

fn refusal(application: &Application, conn: &mut PgConnection) -> String {
    conn.run_pending_migrations(application.source())
        .map(|_| ())
        .expect_err("the migrations are refused")
        .to_string()
}

#[track_caller]
fn assert_says(refusal: &str, parts: &[&str]) {
    for part in parts {
        assert!(refusal.contains(part), "{part:?} is not in: {refusal}");
    }
}

fn assert_nothing_is_left(db: &TestDb) {
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'audit\\_%'";
    assert_eq!(value(&mut db.superuser(), left), 0);
}

#[test]
fn a_schema_where_everybody_may_create_is_refused() {
    for with_owner in OWNERS {
        let db = TestDb::empty();
        let migrator = Migrator::new(&db, "CREATEROLE");
        let grant = "GRANT CREATE ON SCHEMA public TO PUBLIC";
        execute(&mut db.superuser(), grant);
        let refused = refusal(
            &application(&migrator, with_owner, &[]),
            &mut migrator.connect(),
        );
        let ways_out = [
            "PUBLIC may create objects in schema public",
            "run: REVOKE CREATE ON SCHEMA public FROM PUBLIC;\n",
            "threadline install --revoke-create",
            "threadline install --schema audit",
        ];
        assert_says(&refused, &ways_out);
        assert!(!refused.contains("GRANT CREATE"), "{refused}");
        assert_nothing_is_left(&db);

        // Each of the ways out.
        application(&migrator, with_owner, &["--revoke-create"]).run(&mut migrator.connect());
        execute(&mut db.app(), "INSERT INTO shop.items VALUES (1, 1)");

        let db = TestDb::empty();
        let migrator = Migrator::new(&db, "CREATEROLE");
        execute(&mut db.superuser(), grant);
        application(&migrator, with_owner, &["--schema", "audit"]).run(&mut migrator.connect());
        execute(&mut db.app(), "INSERT INTO shop.items VALUES (1, 1)");
    }
}

/// The migrator of PostgreSQL 13 and 14 creates its tables with the right that everybody has.
#[test]
fn a_migrator_who_may_create_like_everybody_is_told_what_it_needs() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    execute(
        &mut db.superuser(),
        "ALTER SCHEMA public OWNER TO postgres; GRANT CREATE ON SCHEMA public TO PUBLIC",
    );
    let advice = format!(
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON SCHEMA public TO {};",
        migrator.name()
    );
    let application = Application::new(&[]);
    let refused = refusal(&application, &mut migrator.connect());
    assert_says(
        &refused,
        &["let postgres, the owner of the schema, run: ", &advice],
    );
    execute(&mut db.superuser(), &advice);
    application.run(&mut migrator.connect());
}

#[test]
fn a_schema_where_another_role_may_create_is_refused() {
    for with_owner in OWNERS {
        let db = TestDb::empty();
        let migrator = Migrator::new(&db, "CREATEROLE");
        execute(
            &mut db.superuser(),
            "GRANT CREATE ON SCHEMA public TO tl_app",
        );
        let application = application(&migrator, with_owner, &[]);
        let refused = refusal(&application, &mut migrator.connect());
        let advice = "REVOKE CREATE ON SCHEMA public FROM tl_app;";
        assert_says(
            &refused,
            &["tl_app may create objects in schema public", advice],
        );
        assert!(!refused.contains("--revoke-create"), "{refused}");
        execute(&mut migrator.connect(), advice);
        application.run(&mut migrator.connect());
    }
}

#[test]
fn a_later_grant_is_noticed_when_a_table_is_captured() {
    for with_owner in OWNERS {
        let db = TestDb::empty();
        let migrator = Migrator::new(&db, "CREATEROLE");
        application(&migrator, with_owner, &[]).run(&mut migrator.connect());
        execute(
            &mut db.superuser(),
            "GRANT CREATE ON SCHEMA public TO tl_app",
        );
        let refused = try_execute(&mut migrator.connect(), &capture_items()).unwrap_err();
        assert_says(&refused, &["tl_app may create objects in schema public"]);

        // What was created while that was possible is noticed, too: a better match for a call of capture's.
        execute(
            &mut db.app(),
            "CREATE FUNCTION public.threadline_image_v1(shop.items, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $2'",
        );
        execute(
            &mut db.superuser(),
            "REVOKE CREATE ON SCHEMA public FROM tl_app",
        );
        let refused = try_execute(&mut migrator.connect(), &capture_items()).unwrap_err();
        assert_says(
            &refused,
            &[
                "routine public.threadline_image_v1(shop.items,jsonb) belongs to tl_app",
                "DROP ROUTINE public.threadline_image_v1(shop.items,jsonb);",
            ],
        );
    }
}

fn capture_items() -> String {
    let storage = threadline::capture::Storage::default();
    threadline::models![Item].plans().unwrap()[0].up_sql(&storage)
}

const PLANTED: [(&str, &str); 5] = [
    (
        "CREATE FUNCTION public.threadline_actor_v1(setting text) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'",
        "routine public.threadline_actor_v1(text) belongs to tl_app",
    ),
    (
        "CREATE FUNCTION public.threadline_transaction_id_v1() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
        "routine public.threadline_transaction_id_v1() belongs to tl_app",
    ),
    (
        "CREATE TABLE public.audit_actions (id uuid PRIMARY KEY, transaction_id uuid)",
        "table public.audit_actions belongs to tl_app",
    ),
    (
        "CREATE VIEW public.audit_commits AS SELECT 1 AS transaction_id",
        "view public.audit_commits belongs to tl_app",
    ),
    (
        "CREATE SEQUENCE public.audit_changes_id_seq",
        "sequence public.audit_changes_id_seq belongs to tl_app",
    ),
];

/// CREATE OR REPLACE and IF NOT EXISTS leave an object to its owner, who could replace it afterwards.
#[test]
fn what_others_planted_under_our_names_is_refused() {
    for with_owner in OWNERS {
        for superuser in [false, true] {
            let db = TestDb::empty();
            let migrator = Migrator::new(&db, "CREATEROLE");
            let application = application(&migrator, with_owner, &[]);
            let mut conn = if superuser {
                db.superuser()
            } else {
                migrator.connect()
            };
            for (plant, found) in PLANTED {
                execute(
                    &mut db.superuser(),
                    &format!(
                        "GRANT CREATE ON SCHEMA public TO tl_app; SET ROLE tl_app; {plant}; RESET ROLE;
                         REVOKE CREATE ON SCHEMA public FROM tl_app"
                    ),
                );
                let refused = refusal(&application, &mut conn);
                assert_says(&refused, &[found]);
                // The message says how it is removed.
                let (_, drop) = refused.split_once("remove it: ").unwrap();
                execute(&mut db.superuser(), drop.lines().next().unwrap());
            }
            application.run(&mut conn);
            execute(&mut db.app(), "INSERT INTO shop.items VALUES (1, 1)");
        }
    }
}

/// Whoever owns the schema may drop what is in it.
#[test]
fn a_schema_of_another_owner_is_refused() {
    for with_owner in OWNERS {
        let db = TestDb::empty();
        let migrator = Migrator::new(&db, "CREATEROLE");
        let mut superuser = db.superuser();
        execute(&mut superuser, "CREATE SCHEMA audit AUTHORIZATION tl_app");
        let application = application(&migrator, with_owner, &["--schema", "audit"]);
        let found = ["schema audit belongs to tl_app"];
        execute(&mut superuser, "BEGIN"); // and with it the table of Diesel's that it would own
        assert_says(&refusal(&application, &mut superuser), &found);
        execute(&mut superuser, "ROLLBACK");
        let grant = format!("GRANT CREATE, USAGE ON SCHEMA audit TO {}", migrator.name());
        execute(&mut superuser, &grant);
        assert_says(&refusal(&application, &mut migrator.connect()), &found);
        execute(
            &mut db.superuser(),
            &format!("ALTER SCHEMA audit OWNER TO {}", migrator.name()),
        );
        application.run(&mut migrator.connect());
    }
}

/// A superuser may act as everybody, which says nothing about who made the log.
#[test]
fn a_superuser_does_not_upgrade_the_log_of_another() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    let application = Application::new(&[]);
    application.run(&mut migrator.connect());
    let base = mutation::installed(threadline::capture::base::up_sql(&Default::default(), None));
    let refused = try_execute(&mut db.superuser(), &base).unwrap_err();
    let name = migrator.name();
    assert_says(
        &refused,
        &[
            &format!("belongs to {name}"),
            &format!("install as {name}, or with threadline install --owner {name}"),
        ],
    );
    // Both of these are what the message says, and so is a member of its owner.
    let owner = threadline::capture::Identifier::new(name.clone()).unwrap();
    let with_owner = threadline::capture::base::up_sql(&Default::default(), Some(&owner));
    execute(&mut db.superuser(), &with_owner);
    execute(&mut migrator.connect(), &base);
    let member = format!("{}_member", db.name());
    execute(
        &mut db.superuser(),
        &format!("CREATE ROLE {member} LOGIN IN ROLE {name}"),
    );
    execute(
        &mut PgConnection::establish(&db.url(&member)).unwrap(),
        &base,
    );
    let owners = "SELECT jsonb_agg(DISTINCT proowner::regrole) FROM pg_proc WHERE proname LIKE 'threadline%'";
    assert_eq!(value(&mut db.superuser(), owners), json!([name]));
}

/// GRANT ALL has the right to create triggers, which run as the owner of the log.
#[test]
fn a_trigger_of_another_on_the_log_is_refused() {
    for with_owner in OWNERS {
        let db = TestDb::empty();
        let migrator = Migrator::new(&db, "CREATEROLE");
        application(&migrator, with_owner, &[]).run(&mut migrator.connect());
        execute(
            &mut db.superuser(),
            "CREATE SCHEMA app AUTHORIZATION tl_app; GRANT ALL ON ALL TABLES IN SCHEMA public TO tl_app",
        );
        execute(
            &mut db.app(),
            "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER planted BEFORE INSERT ON audit_changes FOR EACH ROW EXECUTE FUNCTION app.f()",
        );
        for sql in [&capture_items(), "SELECT threadline_protect_v1()"] {
            let refused = try_execute(&mut migrator.connect(), sql).unwrap_err();
            assert_says(
                &refused,
                &[
                    "trigger planted of public.audit_changes runs code of tl_app",
                    "DROP TRIGGER planted ON public.audit_changes;",
                ],
            );
        }
    }
}

/// R8: the migrator is no member any more, and the schema isn't its own.
#[test]
fn a_schema_of_the_log_belongs_to_its_owner() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    migrator
        .application(&["--schema", "audit"])
        .run(&mut migrator.connect());
    let owner = "SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'audit'";
    assert_eq!(
        value(&mut db.superuser(), owner),
        migrator.log_owner().as_str()
    );
    execute(
        &mut db.superuser(),
        &format!(
            "REVOKE {} FROM {} CASCADE",
            migrator.log_owner(),
            migrator.name()
        ),
    );
    for attack in [
        "DROP TABLE audit.audit_commits",
        "DROP FUNCTION audit.threadline_guard_v1() CASCADE",
        "DROP SCHEMA audit CASCADE",
        "ALTER SCHEMA audit RENAME TO gone",
        "CREATE TABLE audit.planted ()",
    ] {
        let refused = try_execute(&mut migrator.connect(), attack).expect_err(attack);
        assert!(
            refused.contains("must be owner") || refused.contains("permission denied"),
            "{attack}: {refused}"
        );
    }
    execute(&mut db.app(), "INSERT INTO shop.items VALUES (1, 1)");
}
