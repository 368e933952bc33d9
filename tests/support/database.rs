use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once, OnceLock};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::MigrationHarness;
use scratch_postgres::{Builder, ScratchPostgres};
use threadline::Definition;
use threadline::capture::{CapturePlan, Storage, base};

use crate::mutation;

/// The cluster of this test process. `max_prepared_transactions` is for the two-phase tests. Autovacuum comes when it likes:
/// its transactions are open ones like any other, and what it finds out changes plans. So whoever wants either asks for it.
pub fn postgres() -> &'static Arc<ScratchPostgres> {
    static POSTGRES: OnceLock<Arc<ScratchPostgres>> = OnceLock::new();
    POSTGRES.get_or_init(|| {
        cluster(
            ScratchPostgres::builder()
                .setting("max_prepared_transactions", "10")
                .setting("autovacuum", "off"),
        )
    })
}

/// Starts a further cluster, with the roles of the contract and the template that test databases are copied from.
#[must_use]
pub fn cluster(builder: Builder) -> Arc<ScratchPostgres> {
    let postgres = builder.start().unwrap_or_else(|error| panic!("{error}"));
    // One by one, because CREATE DATABASE refuses the transaction that a batch is.
    let mut superuser = connect(&postgres.url("postgres"));
    for sql in [
        "CREATE ROLE tl_owner LOGIN",
        "CREATE ROLE tl_app LOGIN",
        "CREATE ROLE tl_auditor LOGIN",
        "CREATE ROLE tl_operator LOGIN",
        "CREATE ROLE tl_reverter LOGIN",
        "CREATE ROLE threadline_reader",
        "CREATE ROLE threadline_retention",
        "CREATE ROLE threadline_bypass",
        "CREATE ROLE threadline_recorder",
        "GRANT threadline_reader TO tl_auditor, tl_reverter",
        "GRANT threadline_bypass TO tl_operator",
        "GRANT threadline_recorder TO tl_app",
        "GRANT tl_app TO tl_operator, tl_reverter",
    ] {
        superuser
            .batch_execute(sql)
            .expect("a new cluster has none of these");
    }
    install(&postgres, "audited", "tl_owner");
    Arc::new(postgres)
}

/// Makes a template with an audit schema that belongs to a role; `public` and the database are `tl_owner`'s.
fn install(postgres: &ScratchPostgres, template: &str, log_owner: &str) {
    connect(&postgres.url("postgres"))
        .batch_execute(&format!("CREATE DATABASE {template} OWNER tl_owner"))
        .expect("a new cluster has none of these");
    own_public(postgres, template, "tl_owner");
    let mut installer = connect(&postgres.url_as(log_owner, template));
    if std::env::var_os(mutation::VARIABLE).is_some() {
        let broken = mutation::installed(base::up_sql(&Storage::default(), None));
        installer
            .batch_execute(&broken)
            .expect("a mutation is still SQL");
    } else {
        installer
            .run_pending_migrations(threadline::MIGRATIONS)
            .expect("the audit schema installs into an empty database");
    }
}

/// A database of its own for one test, with the audit schema installed by `tl_owner`. Its roles: `tl_owner` owns the
/// tables and the log, `tl_app` writes to what it is granted, `tl_auditor` reads the log, `tl_reverter` does both, and
/// `tl_operator` may act as `tl_app` and switch capture off.
#[derive(Debug)]
pub struct TestDb {
    postgres: Arc<ScratchPostgres>,
    name: String,
    log_owner: &'static str,
}

impl TestDb {
    /// A copy of the migrated template.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "making a database is no default"
    )]
    pub fn new() -> Self {
        Self::on(postgres())
    }

    /// A copy of the migrated template on another [`cluster`].
    #[must_use]
    pub fn on(postgres: &Arc<ScratchPostgres>) -> Self {
        Self::from_template(postgres, "audited")
    }

    /// A copy of a template whose log belongs to the superuser, so that it has the DDL guard. Capture is the superuser's, too.
    #[must_use]
    pub fn guarded() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| install(postgres(), "guarded", "postgres"));
        Self {
            log_owner: "postgres",
            ..Self::from_template(postgres(), "guarded")
        }
    }

    /// A database without the audit schema.
    #[must_use]
    pub fn empty() -> Self {
        Self::empty_on(postgres())
    }

    /// A database without the audit schema on another [`cluster`].
    #[must_use]
    pub fn empty_on(postgres: &Arc<ScratchPostgres>) -> Self {
        let db = Self::from_template(postgres, "template1");
        db.own_public("tl_owner");
        db
    }

    fn from_template(postgres: &Arc<ScratchPostgres>, template: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        connect(&postgres.url("postgres"))
            .batch_execute(&format!(
                "CREATE DATABASE {name} TEMPLATE {template} OWNER tl_owner"
            ))
            .expect("databases can be created from the template");
        Self {
            postgres: Arc::clone(postgres),
            name,
            log_owner: "tl_owner",
        }
    }

    /// Gives a role the schema `public`, where that isn't the database owner's by itself.
    pub fn own_public(&self, role: &str) {
        own_public(&self.postgres, &self.name, role);
    }

    /// The cluster it is in.
    pub fn postgres(&self) -> &ScratchPostgres {
        &self.postgres
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL for a role.
    #[must_use]
    pub fn url(&self, role: &str) -> String {
        self.postgres.url_as(role, &self.name)
    }

    /// A connection as the owner of the tables and of the log.
    #[must_use]
    pub fn owner(&self) -> PgConnection {
        connect(&self.url("tl_owner"))
    }

    /// A connection as the application, which has no right on the audit tables.
    #[must_use]
    pub fn app(&self) -> PgConnection {
        connect(&self.url("tl_app"))
    }

    /// A connection as a reader of the log.
    #[must_use]
    pub fn auditor(&self) -> PgConnection {
        connect(&self.url("tl_auditor"))
    }

    /// A connection as one who reads the log and writes to the application's tables.
    #[must_use]
    pub fn reverter(&self) -> PgConnection {
        connect(&self.url("tl_reverter"))
    }

    /// A connection as superuser.
    #[must_use]
    pub fn superuser(&self) -> PgConnection {
        connect(&self.url("postgres"))
    }

    /// Runs SQL as the owner and lets the application read and write all tables but the log.
    pub fn create(&self, sql: &str) {
        let mut owner = self.owner();
        owner
            .batch_execute(sql)
            .unwrap_or_else(|error| panic!("{error}\n{sql}"));
        owner
            .batch_execute(
                "DO $$ DECLARE t record; BEGIN
                   FOR t IN SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
                         AND n.nspname NOT LIKE 'pg_%' AND c.relname NOT LIKE 'audit\\_%' AND c.relname NOT LIKE '\\_\\_diesel%' LOOP
                     EXECUTE format('GRANT USAGE ON SCHEMA %I TO tl_app, tl_auditor', t.nspname);
                     EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON %I.%I TO tl_app', t.nspname, t.relname);
                   END LOOP;
                   FOR t IN SELECT c.oid::regclass AS name FROM pg_class c
                       WHERE c.relkind = 'S' AND c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'audit\\_%' LOOP
                     EXECUTE format('GRANT USAGE ON SEQUENCE %s TO tl_app', t.name);
                   END LOOP; END $$",
            )
            .expect("the owner grants");
    }

    /// Captures a table as a model with this definition would be.
    pub fn capture(&self, table: &str, definition: Definition) {
        self.try_capture(table, definition)
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// As [`capture`](TestDb::capture), with the server's refusal.
    pub fn try_capture(&self, table: &str, definition: Definition) -> QueryResult<()> {
        let plan = CapturePlan::for_definition(table.parse().expect("a table name"), &definition)
            .expect("a valid plan");
        self.apply(&plan)
    }

    /// Runs the up migration of a plan as the owner of the log.
    pub fn apply(&self, plan: &CapturePlan) -> QueryResult<()> {
        connect(&self.url(self.log_owner))
            .batch_execute(&mutation::installed(plan.up_sql(&Storage::default())))
    }

    /// Creates a table and captures it with the values before, under the key `id`.
    pub fn audited(&self, table: &str, create: &str) {
        self.create(create);
        self.capture(
            table,
            Definition::new("Model", &["id"]).store_changed_from(),
        );
    }
}

/// Since PostgreSQL 15, `public` belongs to the owner of the database; before, to a superuser.
fn own_public(postgres: &ScratchPostgres, database: &str, role: &str) {
    if postgres.version() < 15 {
        connect(&postgres.url(database))
            .batch_execute(&format!("ALTER SCHEMA public OWNER TO {role}"))
            .expect("a superuser gives the schema away");
    }
}

fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).unwrap_or_else(|error| panic!("{error}"))
}
