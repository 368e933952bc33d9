//! `threadline install --schema` and `--owner`, as the migrations that they write.

mod owner;
mod place;
mod readable;
mod rights;
mod schema;

use std::path::Path;

use diesel::prelude::*;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use serde_json::{Value, json};
use tempfile::TempDir;
use threadline::capture::Models;
use threadline::{Action, ActorRef, AsOf, AuditContext, Op, prelude::*, record_action};
use threadline_cli::{Environment, run_with};
use threadline_tests::{TestDb, execute, mutation, rows, try_execute, value};

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

/// A migrations directory of an application that audits [`Item`].
struct Application(TempDir);

impl Application {
    fn new(install: &[&str]) -> Self {
        let application = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(application.0.path().join("migrations")).unwrap();
        application.threadline(threadline::models![], &[&["install"], install].concat());
        application.threadline(threadline::models![Item], &["generate"]);
        application.mutate();
        application
    }

    /// Breaks what was written, where this process is asked to.
    fn mutate(&self) {
        for migration in std::fs::read_dir(self.0.path().join("migrations")).unwrap() {
            let file = migration.unwrap().path().join("up.sql");
            let sql = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, mutation::installed(sql)).unwrap();
        }
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
        db.own_public(&name);
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
