//! The command line as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Audit log for Diesel and PostgreSQL: writes the migrations that capture changes.
#[derive(Debug, Parser)]
#[command(name = "threadline", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the migration that creates the audit tables, or adds what an older version lacks
    Install(InstallArguments),
    /// Write one migration for each table whose capture changed
    #[command(after_help = GENERATE_HELP)]
    Generate(GenerateArguments),
}

const GENERATE_HELP: &str = "\
Tables and columns are named as in the catalog: `users`, `billing.posts`; with double quotes where
the name holds a dot or a comma: '\"odd.name\"'. A column stands for that column of every table in
`--tables`, and `users.ssn` for that of one.";

#[derive(Debug, Args)]
pub(crate) struct InstallArguments {
    /// The schema that holds the audit tables [default: public]
    #[arg(long, value_name = "SCHEMA")]
    pub(crate) schema: Option<String>,
    /// The NOLOGIN role that owns the audit log, so that the application doesn't
    #[arg(long, value_name = "ROLE")]
    pub(crate) owner: Option<String>,
    /// Let the migration run REVOKE CREATE ON SCHEMA … FROM PUBLIC, which PostgreSQL 13 and 14 grant
    #[arg(long)]
    pub(crate) revoke_create: bool,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// Tables without a model; their primary key is looked up when the migration runs
    #[arg(long, value_name = "TABLES")]
    pub(crate) tables: Vec<String>,
    /// End the capture of every table that is not in the list; its history stays
    #[arg(long)]
    pub(crate) prune: bool,
    /// Print what would be done, write nothing, and fail if anything is to be done: for CI
    #[arg(long, conflicts_with_all = ["dry_run", "print_sql"])]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// The policy of the tables in `--tables`.
#[derive(Debug, Args, Default, PartialEq, Eq)]
#[command(next_help_heading = "Policy of the tables in --tables")]
pub(crate) struct PolicyArguments {
    /// Keep the values before an UPDATE or DELETE
    #[arg(long)]
    pub(crate) store_changed_from: bool,
    /// Columns left out of `changed_fields` and `changed_from`
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) except_columns: Vec<String>,
    /// Columns that are never stored
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) exclude: Vec<String>,
    /// Columns stored as the placeholder
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) mask: Vec<String>,
    /// What stands for a masked value [default: [REDACTED]]
    #[arg(long, value_name = "TEXT")]
    pub(crate) mask_placeholder: Option<String>,
    /// Columns whose changes alone are not recorded
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) ignore_only: Vec<String>,
    /// Columns stored only when they change
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) on_change: Vec<String>,
    /// Refuse writes without an actor; `known` refuses anonymous ones too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "any", value_name = "WHO")]
    pub(crate) require_actor: Option<Actor>,
    /// What fires capture: each row, or each statement [default: row]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<Level>,
    /// What TRUNCATE leaves: one line, a delete for each row, or a refusal [default: marker]
    #[arg(long, value_name = "WHAT")]
    pub(crate) truncate: Option<Truncate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Actor {
    Any,
    Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    Row,
    Statement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Truncate {
    Marker,
    Rows,
    Refuse,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    /// The migrations directory [default: what Diesel's command line takes]
    #[arg(long, value_name = "DIR")]
    pub(crate) migration_dir: Option<PathBuf>,
    /// Print what would be done, one line for each table, and write nothing
    #[arg(long, conflicts_with = "print_sql")]
    pub(crate) dry_run: bool,
    /// Print the SQL and write nothing
    #[arg(long)]
    pub(crate) print_sql: bool,
}
