//! Starts a scratch cluster, prints its URL, and holds it until its standard input ends.

use std::io::{self, Write};
use std::process::ExitCode;

use scratch_postgres::ScratchPostgres;

fn main() -> io::Result<ExitCode> {
    let postgres = match ScratchPostgres::start() {
        Ok(postgres) => postgres,
        Err(error) => {
            writeln!(io::stderr(), "error: {error}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    writeln!(io::stdout(), "{}", postgres.url("postgres"))?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(ExitCode::SUCCESS)
}
