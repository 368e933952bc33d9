use std::io;

use insta::assert_snapshot;
use threadline_cli::run_with;

use crate::util::{App, Broken};

#[test]
fn without_the_audit_schema_there_is_nothing_to_capture_with() {
    assert_snapshot!(App::new().fails(1, "generate --tables users"), @"error: migrations: no migration installs the audit schema; run `threadline install` first");
}

#[test]
fn without_a_table_there_is_nothing_to_capture() {
    assert_snapshot!(App::installed().fails(2, "generate"), @"error: there is no table to capture: name tables with `--tables users,posts`, or compile the models in: `threadline_cli::run(threadline::models![User, Post])` in a program of the application");
}

#[test]
fn a_policy_without_tables_is_refused() {
    let app = App::installed();
    for flag in [
        "--store-changed-from",
        "--except-columns=a",
        "--exclude=a",
        "--mask=a",
        "--mask-placeholder=a",
        "--ignore-only=a",
        "--require-actor",
    ] {
        let error = app.fails(2, &format!("generate {flag}"));
        assert!(
            error.contains("policy flags are for the tables in `--tables`"),
            "{flag}: {error}"
        );
    }
}

#[test]
fn command_lines_that_make_no_sense_exit_with_2() {
    let app = App::installed();
    assert_snapshot!(app.fails(2, "generate --tables a.b.c"), @"error: `--tables a.b.c` has too many parts; write `table` or `schema.table`");
    assert_snapshot!(app.fails(2, "generate --tables users --mask posts.body"), @"error: `--mask posts.body` is for a table that `--tables` doesn't name; add the table, or name the column alone for all tables");
    assert_snapshot!(app.fails(2, "generate --tables users --mask a.b.c.d"), @"error: `--mask a.b.c.d` has too many parts; write `column`, `table.column` or `schema.table.column`");
    assert_snapshot!(app.fails(2, "generate --tables users --require-actor=somebody"), @"
    error: invalid value 'somebody' for '--require-actor[=<WHO>]'
      [possible values: any, known]

    For more information, try '--help'.
    ");
    assert_snapshot!(app.fails(2, "generate --tables users --dry-run --print-sql"), @"
    error: the argument '--dry-run' cannot be used with '--print-sql'

    Usage: threadline generate --tables <TABLES> --dry-run

    For more information, try '--help'.
    ");
    assert_snapshot!(app.fails(2, "erase"), @"
    error: unrecognized subcommand 'erase'

    Usage: threadline <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn plans_that_cannot_be_exit_with_1() {
    let app = App::installed();
    assert_snapshot!(app.fails(1, "generate --tables users --mask ssn --exclude users.ssn"), @"error: table `users`: column `ssn` is in both `exclude` and `mask`; keep one: `exclude` drops the column, `mask` keeps its name");
    assert_snapshot!(app.fails(1, "generate --tables users,audit_changes"), @"error: table `audit_changes` is part of the audit log and can't be audited; take it off the list");
    assert_snapshot!(app.fails(1, "generate --tables users --mask-placeholder="), @"error: table `users`: the mask placeholder is empty; use 1 to 200 printable characters");
    assert_snapshot!(app.fails(1, "generate --tables users,"), @"error: `` can't be an SQL identifier: it is empty");
    assert_snapshot!(app.fails(1, "generate --tables users,public.users"), @"error: migrations: table `public.users` is in the list twice; keep one of the two");
}

#[test]
fn a_failure_half_way_takes_back_the_first_half() {
    let app = App::installed();
    app.create(
        "migrations/2026-05-04-120001-0002_threadline_capture_posts",
        "in the way",
    );
    assert_snapshot!(app.fails(1, "generate --tables users,posts"), @"error: `migrations/2026-05-04-120001-0002_threadline_capture_posts` is in the way; nothing was written, so move it and run the command again");
}

#[test]
fn files_that_cannot_be_read_stop_everything() {
    let app = App::installed();
    app.create(
        "migrations/2026-05-04-120001_x/up.sql",
        "-- threadline: capture users\n-- fingerprint: 0\n",
    );
    assert_snapshot!(app.fails(1, "generate --tables users"), @"error: migrations: `2026-05-04-120001_x/up.sql` has a threadline header that can't be read: the line `-- storage: …` is missing; restore the file from version control, or update threadline if a younger version wrote it");
    std::fs::write(
        app.path().join("migrations/2026-05-04-120001_x/up.sql"),
        b"-- \xff",
    )
    .expect("writable");
    assert_snapshot!(app.fails(1, "generate --tables users"), @"error: can't read `migrations/2026-05-04-120001_x/up.sql`: stream did not contain valid UTF-8; mend that and run the command again");
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let app = App::installed();
    let args = ["threadline", "generate", "--tables", "users", "--print-sql"];
    for (kind, code) in [
        (io::ErrorKind::BrokenPipe, 0),
        (io::ErrorKind::StorageFull, 1),
    ] {
        let mut err = Vec::new();
        let models = threadline::models![];
        let ran = run_with(&models, args, &app.environment, &mut Broken(kind), &mut err);
        assert_eq!((ran, err.is_empty()), (code, code == 0), "{kind:?}");
    }
}
