//! The command line of [`threadline`].
//!
//! An application that compiles it with its models needs no other place for its capture rules:
//!
//! ```no_run
//! // src/bin/threadline.rs
//! use std::process::ExitCode;
//!
//! # mod app {
//! #     diesel::table! { users (id) { id -> BigInt, email -> Text, } }
//! #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
//! #     #[diesel(table_name = users)]
//! #     pub struct User { id: i64, email: String }
//! # }
//! fn main() -> ExitCode {
//!     threadline_cli::run(threadline::models![app::User])
//! }
//! ```
//!
//! `threadline install` writes the migration that creates the audit tables, `threadline generate` one for each table
//! whose capture changed. Both work offline, on the application's `migrations` directory alone; `diesel migration run`
//! does the rest.
//!
//! The exit code is 0 when the work is done or there is nothing to do, 1 when it failed, 2 when the command line makes
//! no sense. A failed command leaves no file behind.

mod args;
mod directory;
mod environment;
mod error;
mod generate;
mod install;
mod list;
mod write;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use threadline::capture::Models;

pub use environment::Environment;

use args::{Arguments, Command};
use error::CliError;

/// Runs the command line of this process.
///
/// # Examples
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     threadline_cli::run(threadline::models![])
/// }
/// ```
#[must_use]
pub fn run(models: Models) -> ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let code = match Environment::of_process() {
        Ok(environment) => run_with(
            &models,
            std::env::args_os(),
            &environment,
            &mut out,
            &mut err,
        ),
        Err(error) => {
            // Nobody is left to tell if even this fails.
            let _ = writeln!(
                err,
                "error: can't tell the current directory: {error}; change to one that exists"
            );
            1
        }
    };
    code.into()
}

/// Runs a command line somewhere else: `args` with the program's name first, files and time from `environment`.
///
/// Returns the exit code.
///
/// # Examples
///
/// ```
/// use threadline_cli::{Environment, run_with};
///
/// let environment = Environment::new("/", "2026-05-04T12:00:00Z".parse()?);
/// let (mut out, mut err) = (Vec::new(), Vec::new());
/// let args = ["threadline", "generate"];
/// let code = run_with(&threadline::models![], args, &environment, &mut out, &mut err);
/// assert_eq!(code, 2);
/// assert!(String::from_utf8(err)?.starts_with("error: there is no table to capture"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_with<A>(
    models: &Models,
    args: A,
    environment: &Environment,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8
where
    A: IntoIterator,
    A::Item: Into<OsString> + Clone,
{
    let result = match Arguments::try_parse_from(args) {
        Ok(arguments) => match arguments.command {
            Command::Install(arguments) => install::run(&arguments, environment, out),
            Command::Generate(arguments) => generate::run(&arguments, models, environment, out),
        }
        .and_then(|()| Ok(out.flush()?)),
        Err(error) if error.use_stderr() => Err(CliError::Arguments(error)),
        Err(help) => write!(out, "{}", help.render()).map_err(CliError::from),
    };
    match result {
        Ok(()) => 0,
        // Whoever reads has read enough.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            // A lost message doesn't change the exit code.
            let _ = error.report(err);
            error.exit_code()
        }
    }
}
