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
        Ok(url) if !url.is_empty() => {
            // Many have one in their shell, and this one migrates it.
            writeln!(io::stderr(), "Using the database of DATABASE_URL.")?;
            (None, url)
        }
        _ => {
            let postgres = ScratchPostgres::start()?;
            let url = postgres.url("postgres");
            (Some(postgres), url)
        }
    };
    migrate(&url).map_err(|error| {
        let error = error.to_string();
        format!(
            "{}\nLet DATABASE_URL name a database that its role may create tables in, or unset it to use a throwaway server.",
            error.trim_end()
        )
    })?;
    example_quickstart::story::tell(&url, out)
}

fn migrate(url: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    PgConnection::establish(url)?.run_pending_migrations(example_quickstart::MIGRATIONS)?;
    Ok(())
}
