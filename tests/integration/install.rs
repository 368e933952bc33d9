//! `threadline install --schema` and `--owner`, as the migrations that they write.

use std::path::Path;

use diesel::prelude::*;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use serde_json::{Value, json};
use tempfile::TempDir;
use threadline::capture::Models;
use threadline::{Action, ActorRef, AsOf, AuditContext, Op, prelude::*, record_action};
use threadline_cli::{Environment, run_with};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

diesel::table! {
    shop.items (id) { id -> BigInt, n -> BigInt, }
}

#[derive(Debug, PartialEq, Queryable, Selectable, Audited)]
#[audited(store_changed_from)]
struct Item {
    id: i64,
    n: i64,
}

const ITEMS: &str = "CREATE SCHEMA shop;
    CREATE TABLE shop.items (id bigint PRIMARY KEY, n bigint NOT NULL);
    GRANT USAGE ON SCHEMA shop TO tl_app, tl_auditor;
    GRANT SELECT, INSERT, UPDATE, DELETE ON shop.items TO tl_app";

/// On each of two rows, the second of which a trigger on the first one writes, too (C13).
const NESTED: &str = "
    CREATE FUNCTION shop.spread() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN UPDATE shop.items SET n = n + 100 WHERE id = 2; RETURN NULL; END $$;
    CREATE TRIGGER spread AFTER UPDATE ON shop.items FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION shop.spread()";

#[test]
fn another_schema_holds_everything() {
    let db = TestDb::empty();
    execute(&mut db.owner(), ITEMS);
    let application = Application::new(&["--schema", "audit"]);
    application.run(&mut db.owner());

    let in_public =
        "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    let ours: Vec<_> = rows(&mut db.owner(), in_public)
        .into_iter()
        .filter(|row| !row["name"].as_str().unwrap().starts_with("__diesel"))
        .collect();
    assert_eq!(ours, [] as [Value; 0]);
    let functions = rows(
        &mut db.owner(),
        "SELECT p.oid::regprocedure::text AS name, prosrc ~ '\\mpublic\\M' OR pg_get_functiondef(p.oid) ~ '\\mpublic\\M' AS public
         FROM pg_proc p WHERE pronamespace = 'audit'::regnamespace",
    );
    assert!(functions.len() > 30, "{}", functions.len());
    for function in functions {
        assert_eq!(function["public"], Value::Bool(false), "{function}");
    }

    let mut app = db.app();
    let mut auditor = db.auditor();
    for conn in [&mut app, &mut auditor] {
        execute(conn, "SET search_path = public, audit");
    }
    let actor = ActorRef::user(7).unwrap();
    threadline::transaction(&mut app, &AuditContext::new(actor.clone()), |conn| {
        record_action(Action::new("item.added").require_changes())
            .get_result::<uuid::Uuid>(conn)?;
        diesel::insert_into(items::table)
            .values((items::id.eq(1), items::n.eq(1)))
            .execute(conn)
    })
    .unwrap();
    diesel::update(items::table)
        .set(items::n.eq(2))
        .execute(&mut app)
        .unwrap();

    let history = Item::history(1).load(&mut auditor).unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].op, Op::Update);
    assert_eq!(history[0].changed_from, Some(json!({"n": 1})));
    assert_eq!(history[1].actor(), Some(&actor));
    assert_eq!(history[1].after(), Some(&Item { id: 1, n: 1 }));
    assert!(matches!(
        Item::as_of(1, diesel::dsl::now)
            .get_result(&mut auditor)
            .unwrap(),
        AsOf::Found {
            row: Item { n: 2, .. },
            ..
        }
    ));
    let linked = value(
        &mut auditor,
        "SELECT a.name FROM audit_transactions t JOIN audit_actions a ON a.id = t.action_id",
    );
    assert_eq!(linked, "item.added");

    // The application needs to find nothing of it to be captured.
    execute(&mut db.app(), "UPDATE shop.items SET n = 3");
    assert_eq!(Item::history(1).load(&mut auditor).unwrap().len(), 3);
}

#[test]
fn another_schema_is_rolled_back() {
    let db = TestDb::empty();
    execute(&mut db.owner(), ITEMS);
    let application = Application::new(&["--schema", "audit"]);
    let mut owner = db.owner();
    application.run(&mut owner);
    execute(&mut db.app(), "INSERT INTO shop.items VALUES (1, 1)");

    owner.revert_last_migration(application.source()).unwrap();
    let refusal = owner
        .revert_last_migration(application.source())
        .unwrap_err();
    assert!(
        refusal.to_string().contains("is not empty and stays"),
        "{refusal}"
    );
    application.run(&mut owner);
    execute(&mut db.app(), "UPDATE shop.items SET n = 2");
    assert_eq!(
        value(&mut owner, "SELECT count(*) FROM audit.audit_changes"),
        2
    );

    execute(&mut owner, "SET threadline.drop_log = 'yes'");
    owner.revert_all_migrations(application.source()).unwrap();
    // Somebody else may have made the schema, so it stays; it is empty, since this drops nothing with it.
    execute(&mut owner, "DROP SCHEMA audit");
    execute(&mut db.app(), "UPDATE shop.items SET n = 3");
}

#[test]
fn a_role_for_the_log_is_made_by_a_migrator_who_may() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    let application = migrator.application(&[]);
    application.run(&mut migrator.connect());
    migrator.assert_works("public");
    let role = format!(
        "SELECT rolcanlogin FROM pg_roles WHERE rolname = '{}'",
        migrator.log_owner()
    );
    assert_eq!(value(&mut db.superuser(), &role), Value::Bool(false));
}

#[test]
fn a_role_for_the_log_is_made_by_an_administrator() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "NOCREATEROLE");
    let application = migrator.application(&[]);
    let refusal = migrator
        .connect()
        .run_pending_migrations(application.source())
        .unwrap_err()
        .to_string();

    // The message says what the administrator is to run.
    let (_, advice) = refusal.split_once("Let an administrator run: ").unwrap();
    let expected = format!(
        "CREATE ROLE {log} NOLOGIN; GRANT {log} TO {migrator};",
        log = migrator.log_owner(),
        migrator = migrator.name()
    );
    assert_eq!(advice.trim(), expected, "{refusal}");
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'audit\\_%'";
    assert_eq!(value(&mut db.superuser(), left), 0);

    execute(&mut db.superuser(), &expected);
    application.run(&mut migrator.connect());
    migrator.assert_works("public");
}

#[test]
fn a_role_that_the_migrator_is_no_member_of() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "NOCREATEROLE");
    let log = migrator.log_owner();
    execute(&mut db.superuser(), &format!("CREATE ROLE {log} NOLOGIN"));
    let application = migrator.application(&[]);
    let refusal = migrator
        .connect()
        .run_pending_migrations(application.source())
        .unwrap_err()
        .to_string();
    let advice = format!(
        "Let an administrator run: GRANT {log} TO {};",
        migrator.name()
    );
    assert!(refusal.contains(&advice), "{refusal}");
}

#[test]
fn a_schema_and_a_role_of_its_own() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    let application = migrator.application(&["--schema", "audit"]);
    application.run(&mut migrator.connect());
    migrator.assert_works("audit");
}

#[test]
fn a_log_with_a_role_of_its_own_is_rolled_back() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    let application = migrator.application(&[]);
    let mut conn = migrator.connect();
    application.run(&mut conn);
    execute(&mut db.app(), "INSERT INTO shop.items VALUES (1, 1)");
    conn.revert_last_migration(application.source()).unwrap();
    execute(&mut db.app(), "UPDATE shop.items SET n = 2");
    conn.revert_last_migration(application.source())
        .unwrap_err();
    application.run(&mut conn);
    execute(&mut db.app(), "UPDATE shop.items SET n = 3");
    assert_eq!(value(&mut conn, "SELECT count(*) FROM audit_changes"), 2);

    execute(&mut conn, "SET threadline.drop_log = 'yes'");
    conn.revert_all_migrations(application.source()).unwrap();
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'audit\\_%'";
    assert_eq!(value(&mut conn, left), 0);
    execute(&mut conn, "TRUNCATE shop.items");
    application.run(&mut conn);
    migrator.assert_works("public");
}

/// The role that C30 is about: it owns the application's tables, and the log is not its own.
#[test]
fn who_owns_the_table_cannot_touch_the_log() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    let application = migrator.application(&[]);
    application.run(&mut migrator.connect());
    let shop = format!("{}_shop", db.name());
    execute(
        &mut db.superuser(),
        &format!(
            "CREATE ROLE {shop} LOGIN; ALTER SCHEMA shop OWNER TO {shop}; ALTER TABLE shop.items OWNER TO {shop}"
        ),
    );
    let mut owner = PgConnection::establish(&db.url(&shop)).unwrap();
    execute(&mut owner, "INSERT INTO shop.items VALUES (1, 1)");

    let log = migrator.log_owner();
    for attack in [
        "SELECT FROM audit_changes",
        "INSERT INTO audit_changes SELECT",
        "UPDATE audit_changes SET op = 'delete'",
        "UPDATE audit_transactions SET actor_ref = '{}'",
        "DELETE FROM audit_changes",
        "TRUNCATE audit_changes",
        "ALTER TABLE audit_changes DISABLE TRIGGER ALL",
        "ALTER TABLE audit_changes DISABLE TRIGGER threadline_guard",
        "ALTER TABLE audit_changes DROP COLUMN op",
        "ALTER TABLE audit_changes OWNER TO CURRENT_USER",
        "DROP TRIGGER threadline_guard ON audit_changes",
        "DROP TABLE audit_changes",
        "UPDATE audit_tables SET horizon = '-infinity'",
        "ALTER SEQUENCE audit_changes_id_seq RESTART",
        "SELECT setval('audit_changes_id_seq', 1)",
        "DROP FUNCTION threadline_guard_v1()",
        "ALTER FUNCTION threadline_seal_v1() OWNER TO CURRENT_USER",
        "CREATE OR REPLACE FUNCTION threadline_capture_1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER forged AFTER INSERT ON shop.items FOR EACH ROW EXECUTE FUNCTION threadline_capture_1()",
        "SELECT threadline_release_v1('shop.items', 'items', '1s')",
        &format!("SET ROLE {log}"),
        &format!("GRANT {log} TO CURRENT_USER"),
    ] {
        let refusal = try_execute(&mut owner, attack).expect_err(attack);
        let expected = [
            "permission denied",
            "must be owner",
            "must be member",
            "must have admin",
        ];
        assert!(
            expected.iter().any(|text| refusal.contains(text)),
            "{attack}: {refusal}"
        );
    }
    execute(&mut owner, "UPDATE shop.items SET n = 2");
    let changes = "SELECT jsonb_agg(op ORDER BY id) FROM audit_changes";
    assert_eq!(
        value(&mut migrator.connect(), changes),
        json!(["insert", "update"])
    );
}

/// The log's owner looks at a row again when triggers overtook each other, and has to be able to.
#[test]
fn a_schema_that_the_log_s_owner_may_not_look_into() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    execute(&mut db.superuser(), "ALTER SCHEMA shop OWNER TO postgres");
    execute(
        &mut db.superuser(),
        &format!("GRANT USAGE, CREATE ON SCHEMA shop TO {}", migrator.name()),
    );
    let application = migrator.application(&[]);
    let mut conn = migrator.connect();
    let refusal = conn
        .run_pending_migrations(application.source())
        .unwrap_err()
        .to_string();
    let log = migrator.log_owner();
    let advice = format!("Let the owner of the schema run: GRANT USAGE ON SCHEMA shop TO {log};");
    assert!(refusal.contains(&advice), "{refusal}");
    execute(
        &mut db.app(),
        "INSERT INTO shop.items VALUES (1, 1); DELETE FROM shop.items",
    );

    execute(
        &mut db.superuser(),
        &format!("GRANT USAGE ON SCHEMA shop TO {log}"),
    );
    application.run(&mut conn);
    migrator.assert_works("public");
}

/// A policy that hides the row would make the log say that it is gone.
#[test]
fn row_level_security_does_not_falsify_the_log() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    execute(&mut migrator.connect(), NESTED);
    let application = migrator.application(&[]);
    application.run(&mut migrator.connect());
    execute(
        &mut migrator.connect(),
        "ALTER TABLE shop.items ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON shop.items TO tl_app USING (true)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO shop.items VALUES (1, 1), (2, 2)",
    );
    let refusal = try_execute(&mut db.app(), "UPDATE shop.items SET n = n + 1").unwrap_err();
    assert!(
        refusal.contains("row-level security policy for table \"items\""),
        "{refusal}"
    );

    execute(
        &mut db.superuser(),
        &format!("ALTER ROLE {} BYPASSRLS", migrator.log_owner()),
    );
    execute(&mut db.app(), "UPDATE shop.items SET n = n + 1");
    migrator.assert_newest_images("public");
}

/// A migrations directory of an application that audits [`Item`].
struct Application(TempDir);

impl Application {
    fn new(install: &[&str]) -> Self {
        let application = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(application.0.path().join("migrations")).unwrap();
        application.threadline(threadline::models![], &[&["install"], install].concat());
        application.threadline(threadline::models![Item], &["generate"]);
        application
    }

    fn threadline(&self, models: Models, arguments: &[&str]) {
        let environment = Environment::new(self.0.path(), "2026-02-01T12:00:00Z".parse().unwrap());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments = ["threadline"].iter().chain(arguments);
        run_with(&models, arguments, &environment, &mut out, &mut err);
        assert_eq!(String::from_utf8(err).unwrap(), "");
    }

    fn source(&self) -> FileBasedMigrations {
        let path: &Path = self.0.path();
        FileBasedMigrations::from_path(path.join("migrations")).unwrap()
    }

    fn run(&self, conn: &mut PgConnection) {
        conn.run_pending_migrations(self.source())
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A role that owns a database and its tables, and is no superuser. Roles belong to the cluster, so each test has its own.
struct Migrator<'a> {
    db: &'a TestDb,
}

impl<'a> Migrator<'a> {
    fn new(db: &'a TestDb, rights: &str) -> Self {
        let migrator = Self { db };
        let name = migrator.name();
        execute(
            &mut db.superuser(),
            &format!(
                "CREATE ROLE {name} LOGIN {rights}; ALTER DATABASE {} OWNER TO {name}",
                db.name()
            ),
        );
        execute(&mut migrator.connect(), ITEMS);
        migrator
    }

    fn name(&self) -> String {
        format!("{}_migrator", self.db.name())
    }

    fn log_owner(&self) -> String {
        format!("{}_log", self.db.name())
    }

    fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.db.url(&self.name())).unwrap()
    }

    fn application(&self, install: &[&str]) -> Application {
        Application::new(&[&["--owner", self.log_owner().as_str()], install].concat())
    }

    /// The log is its owner's, the application is captured, and a policy can be changed; nested triggers included.
    fn assert_works(&self, storage: &str) {
        self.assert_owned(storage);
        execute(&mut self.connect(), NESTED);
        let mut app = self.db.app();
        execute(
            &mut app,
            "INSERT INTO shop.items VALUES (1, 1), (2, 2), (3, 3)",
        );
        execute(
            &mut app,
            "UPDATE shop.items SET n = n + 1 WHERE id IN (1, 2)",
        );
        execute(&mut app, "DELETE FROM shop.items WHERE id = 3");
        self.assert_newest_images(storage);

        #[derive(Audited)]
        #[diesel(table_name = items)]
        #[audited(mask(n))]
        #[allow(dead_code)]
        struct Masked;
        let masked = threadline::models![Masked].plans().unwrap();
        let storage_schema = threadline::capture::Storage::new(storage).unwrap();
        execute(&mut self.connect(), &masked[0].up_sql(&storage_schema));
        execute(&mut app, "INSERT INTO shop.items VALUES (4, 4)");
        let newest =
            format!("SELECT data_after FROM {storage}.audit_changes ORDER BY id DESC LIMIT 1");
        assert_eq!(
            value(&mut self.connect(), &newest),
            json!({"id": 4, "n": "[REDACTED]"})
        );
        self.assert_owned(storage);
        // Installing again, over what belongs to the role by now.
        let owner = threadline::capture::Identifier::new(self.log_owner()).unwrap();
        let base = threadline::capture::base::up_sql(&storage_schema, Some(&owner));
        execute(&mut self.connect(), &base);
        self.assert_owned(storage);
    }

    fn assert_owned(&self, storage: &str) {
        let objects = rows(
            &mut self.db.superuser(),
            &format!(
                "SELECT relname AS name, relowner::regrole::text AS owner FROM pg_class
                 WHERE relnamespace = '{storage}'::regnamespace AND relname LIKE 'audit\\_%'
                 UNION ALL SELECT proname, proowner::regrole::text FROM pg_proc WHERE pronamespace = '{storage}'::regnamespace"
            ),
        );
        assert!(objects.len() > 50, "{}", objects.len());
        for object in objects {
            assert_eq!(object["owner"], self.log_owner().as_str(), "{object}");
        }
    }

    fn assert_newest_images(&self, storage: &str) {
        let logged = format!(
            "SELECT jsonb_object_agg(id, image) FROM (
                 SELECT DISTINCT ON (table_pk) table_pk ->> 'id' AS id, data_after AS image
                 FROM {storage}.audit_changes c WHERE table_name = 'items' ORDER BY table_pk, c.id DESC
             ) newest WHERE image IS NOT NULL"
        );
        let now = "SELECT jsonb_object_agg(id, to_jsonb(i)) FROM shop.items i";
        let superuser = &mut self.db.superuser();
        assert_eq!(value(superuser, &logged), value(superuser, now));
    }
}
