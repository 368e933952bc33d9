use std::io::{self, Write};
use std::path::PathBuf;

use thiserror::Error;
use threadline::capture::PlanError;
use threadline::capture::migration::MigrationError;

/// Why a command failed. Each message names the thing and the next step.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Arguments(clap::Error),
    #[error(
        "there is no table to capture: name tables with `--tables users,posts`, or compile the models in: \
         `threadline_cli::run(threadline::models![User, Post])` in a program of the application"
    )]
    NoTables,
    #[error(
        "policy flags are for the tables in `--tables`; the policy of a model is in its attributes, such as `#[audited(mask)]`: \
         change them there, or name a table without a model"
    )]
    PolicyWithoutTables,
    #[error(
        "table `{table}` belongs to a model of this program, whose attributes hold its policy; leave it out of `--tables`"
    )]
    TableOfModel { table: String },
    #[error(
        "`{flag} {text}` is for a table that `--tables` doesn't name; add the table, or name the column alone for all tables"
    )]
    ColumnOfOtherTable { flag: &'static str, text: String },
    #[error("`{flag} {text}` has too many parts; write {expected}")]
    Name {
        flag: &'static str,
        text: String,
        expected: &'static str,
    },
    #[error(
        "the migrations don't capture every table as asked: {missing} to write; run `threadline generate` and commit what it writes"
    )]
    NotGenerated { missing: usize },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("{}: {source}", directory.display())]
    Migration {
        directory: PathBuf,
        source: MigrationError,
    },
    #[error(
        "there is no migrations directory `{}`; create it with `diesel setup`, or name another with `--migration-dir`",
        .0.display()
    )]
    NoDirectory(PathBuf),
    #[error(
        "there is no `migrations` directory in `{}` or above it; create one with `diesel setup`, or name it with `--migration-dir`",
        .0.display()
    )]
    NoDirectoryAbove(PathBuf),
    #[error("can't make sense of `{}`: {reason}; mend it, or name the directory with `--migration-dir`", path.display())]
    Config { path: PathBuf, reason: String },
    #[error("can't read `{}`: {source}; mend that and run the command again", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("can't write `{}`: {source}; nothing was written, so mend that and run the command again", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` is in the way; nothing was written, so move it and run the command again", .0.display())]
    InTheWay(PathBuf),
    #[error(
        "can't write the output: {0}; see what the migrations directory holds before you run the command again"
    )]
    Output(#[from] io::Error),
}

impl CliError {
    /// 2 for a command line that makes no sense, 1 for a failure.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Arguments(_)
            | Self::NoTables
            | Self::PolicyWithoutTables
            | Self::TableOfModel { .. }
            | Self::ColumnOfOtherTable { .. }
            | Self::Name { .. } => 2,
            _ => 1,
        }
    }

    pub(crate) fn report(&self, err: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Arguments(error) => write!(err, "{}", error.render()),
            error => writeln!(err, "error: {error}"),
        }
    }
}
