use std::process::Command;

use insta::assert_snapshot;

use crate::util::App;

#[test]
fn help_is_on_the_output_and_no_failure() {
    let app = App::new();
    assert_snapshot!(app.succeeds("--help"), @"
    Audit log for Diesel and PostgreSQL: writes the migrations that capture changes

    Usage: threadline <COMMAND>

    Commands:
      install   Write the migration that creates the audit tables, or adds what an older version lacks
      generate  Write one migration for each table whose capture changed
      help      Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version
    ");
    assert_snapshot!(app.succeeds("install --help"), @"
    Write the migration that creates the audit tables, or adds what an older version lacks

    Usage: threadline install [OPTIONS]

    Options:
          --schema <SCHEMA>  The schema that holds the audit tables [default: public]
          --owner <ROLE>     The NOLOGIN role that owns the audit log, so that the application doesn't
          --revoke-create    Let the migration run REVOKE CREATE ON SCHEMA … FROM PUBLIC, which PostgreSQL 13 and 14 grant
      -h, --help             Print help

    Output:
          --migration-dir <DIR>  The migrations directory [default: what Diesel's command line takes]
          --dry-run              Print what would be done, one line for each table, and write nothing
          --print-sql            Print the SQL and write nothing
    ");
    assert_snapshot!(app.succeeds("generate --help"), @r#"
    Write one migration for each table whose capture changed

    Usage: threadline generate [OPTIONS]

    Options:
          --tables <TABLES>  Tables without a model; their primary key is looked up when the migration runs
          --prune            End the capture of every table that is not in the list; its history stays
          --check            Print what would be done, write nothing, and fail if anything is to be done: for CI
      -h, --help             Print help

    Policy of the tables in --tables:
          --store-changed-from        Keep the values before an UPDATE or DELETE
          --except-columns <COLUMNS>  Columns left out of `changed_fields` and `changed_from`
          --exclude <COLUMNS>         Columns that are never stored
          --mask <COLUMNS>            Columns stored as the placeholder
          --mask-placeholder <TEXT>   What stands for a masked value [default: [REDACTED]]
          --ignore-only <COLUMNS>     Columns whose changes alone are not recorded
          --on-change <COLUMNS>       Columns stored only when they change
          --require-actor[=<WHO>]     Refuse writes without an actor; `known` refuses anonymous ones too [possible values: any, known]
          --level <LEVEL>             What fires capture: each row, or each statement [default: row] [possible values: row, statement]
          --truncate <WHAT>           What TRUNCATE leaves: one line, a delete for each row, or a refusal [default: marker] [possible values: marker, rows, refuse]

    Output:
          --migration-dir <DIR>  The migrations directory [default: what Diesel's command line takes]
          --dry-run              Print what would be done, one line for each table, and write nothing
          --print-sql            Print the SQL and write nothing

    Tables and columns are named as in the catalog: `users`, `billing.posts`; with double quotes where
    the name holds a dot or a comma: '"odd.name"'. A column stands for that column of every table in
    `--tables`, and `users.ssn` for that of one.
    "#);
}

#[test]
fn the_program_runs_without_models() {
    let app = App::new();
    let threadline = |line: &str| {
        Command::new(env!("CARGO_BIN_EXE_threadline"))
            .args(line.split(' '))
            .current_dir(app.path())
            .env_remove("MIGRATION_DIRECTORY")
            .env_remove("DIESEL_CONFIG_FILE")
            .output()
            .expect("the program starts")
    };
    assert_eq!(threadline("install").status.code(), Some(0));
    assert_eq!(threadline("generate --tables users").status.code(), Some(0));
    let failed = threadline("generate --tables audit_changes");
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.stderr.starts_with(b"error: table `audit_changes`"));
    assert_eq!(threadline("generate").status.code(), Some(2));
}
