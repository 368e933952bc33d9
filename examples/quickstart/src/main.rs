//! Runs the story on `DATABASE_URL`, or on a PostgreSQL of its own.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use diesel::prelude::*;
use diesel_migrations::MigrationHarness;
use scratch_postgres::ScratchPostgres;

// The bundled libpq: an example has to link wherever there is a C compiler.
use pq_sys as _;

fn main() -> ExitCode {
    match run(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to report to if stderr is closed.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(out: &mut dyn Write) -> Result<(), Box<dyn Error + Send + Sync>> {
    // Kept to the end: the server goes with it.
    let (_postgres, url) = match std::env::var("DATABASE_URL") {
        Ok(url) => (None, url),
        Err(_) => {
            let postgres = ScratchPostgres::start()?;
            let url = postgres.url("postgres");
            (Some(postgres), url)
        }
    };
    PgConnection::establish(&url)
        .map_err(|error| {
            format!("{error}\nIs DATABASE_URL right? Unset it to use a throwaway server.")
        })?
        .run_pending_migrations(example_quickstart::MIGRATIONS)?;
    example_quickstart::story::tell(&url, out)
}
