//! The cluster of the benchmarks, and a database for each thing that is measured.

use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use scratch_postgres::ScratchPostgres;

use crate::Result;
use crate::variant::{VARIANTS, Variant};

/// Nothing is synced to disk, which scratch-postgres sees to: ratios matter. Nothing works in the background either.
pub(crate) const SETTINGS: [(&str, &str); 6] = [
    ("autovacuum", "off"),
    ("shared_buffers", "1GB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    ("maintenance_work_mem", "256MB"),
    ("work_mem", "64MB"),
];

/// A server with a template for every variant: an empty `users`, captured.
pub(crate) struct Server {
    postgres: ScratchPostgres,
    admin: PgConnection,
}

impl Server {
    pub(crate) fn start() -> Result<Server> {
        let mut builder = ScratchPostgres::builder();
        for (name, value) in SETTINGS {
            builder = builder.setting(name, value);
        }
        let postgres = builder.start()?;
        let admin = PgConnection::establish(&postgres.url("postgres"))?;
        let mut server = Server { postgres, admin };
        for (place, variant) in VARIANTS.iter().enumerate() {
            server.create(&format!("template_{place}"), "template1")?;
            server.prepare(variant, &format!("template_{place}"))?;
        }
        Ok(server)
    }

    fn prepare(&self, variant: &Variant, database: &str) -> Result<()> {
        let mut conn = self.connect(database)?;
        variant.install(&mut conn)?;
        conn.batch_execute(include_str!("../sql/users.sql"))?;
        variant.capture(&mut conn, "users")
    }

    /// A new database like the template of the variant at this place.
    pub(crate) fn fresh(&mut self, database: &str, variant: usize) -> Result<PgConnection> {
        self.create(database, &format!("template_{variant}"))?;
        self.connect(database)
    }

    fn create(&mut self, database: &str, template: &str) -> Result<()> {
        self.admin
            .batch_execute(&format!("CREATE DATABASE {database} TEMPLATE {template}"))?;
        Ok(())
    }

    pub(crate) fn discard(&mut self, database: &str) -> Result<()> {
        self.admin
            .batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)"))?;
        Ok(())
    }

    pub(crate) fn connect(&self, database: &str) -> Result<PgConnection> {
        Ok(PgConnection::establish(&self.postgres.url(database))?)
    }

    /// The connection to ask for what is the server's.
    pub(crate) fn admin(&mut self) -> &mut PgConnection {
        &mut self.admin
    }

    pub(crate) fn postgres(&self) -> &ScratchPostgres {
        &self.postgres
    }

    pub(crate) fn version(&self) -> u32 {
        self.postgres.version()
    }
}

/// Runs SQL and tells how many microseconds that took.
pub(crate) fn timed(conn: &mut PgConnection, sql: &str) -> Result<f64> {
    let start = Instant::now();
    conn.batch_execute(sql)?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

/// Leaves nothing to do for the statement that is measured next.
pub(crate) fn settle(conn: &mut PgConnection) -> Result<()> {
    conn.batch_execute("VACUUM (ANALYZE) users")?;
    conn.batch_execute("CHECKPOINT")?;
    Ok(())
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

/// The one number that a query gives.
pub(crate) fn number(conn: &mut PgConnection, sql: &str) -> Result<i64> {
    let query = diesel::sql_query(format!("SELECT ({sql})::bigint AS number"));
    Ok(query.get_result::<Number>(conn)?.number)
}
