use insta::assert_snapshot;

use crate::util::App;

#[test]
fn the_flag_goes_before_the_variable_before_diesel_toml_before_migrations() {
    let mut app = App::new();
    for directory in ["flag", "variable", "configured", "src/bin"] {
        app.create_dir(directory);
    }
    app.create("diesel.toml", "[print_schema]\nfile = \"src/schema.rs\"\n\n[migrations_directory]\ndir = \"configured\"\n");
    app.environment.current_dir.push("src/bin");
    app.environment.migration_directory = Some("../../variable".into());
    assert_snapshot!(app.succeeds("install --dry-run --migration-dir ../../flag"), @"../../flag/2026-05-04-120000_threadline_install: creates the audit tables");
    assert_snapshot!(app.succeeds("install --dry-run"), @"../../variable/2026-05-04-120000_threadline_install: creates the audit tables");
    app.environment.migration_directory = None;
    assert_snapshot!(app.succeeds("install --dry-run"), @"[app]/configured/2026-05-04-120000_threadline_install: creates the audit tables");
    app.create("diesel.toml", "");
    assert_snapshot!(app.succeeds("install --dry-run"), @"[app]/migrations/2026-05-04-120000_threadline_install: creates the audit tables");
    app.create(
        "other/diesel.toml",
        "migrations_directory.dir = \"../flag\"",
    );
    app.environment.diesel_config_file = Some("../../other/diesel.toml".into());
    assert_snapshot!(app.succeeds("install --dry-run"), @"../../other/../flag/2026-05-04-120000_threadline_install: creates the audit tables");
}

#[test]
fn a_missing_one_is_an_error_that_says_what_to_do() {
    let mut app = App::new();
    assert_snapshot!(app.fails(1, "install --migration-dir nowhere"), @"error: there is no migrations directory `nowhere`; create it with `diesel setup`, or name another with `--migration-dir`");
    app.create("diesel.toml", "[migrations_directory]\ndir = \"gone\"\n");
    assert_snapshot!(app.fails(1, "install"), @"error: there is no migrations directory `gone`; create it with `diesel setup`, or name another with `--migration-dir`");
    app.create("diesel.toml", "[migrations_directory]\ndir = 1\n");
    assert_snapshot!(app.fails(1, "install"), @"error: can't make sense of `diesel.toml`: invalid type: integer `1`, expected path string; mend it, or name the directory with `--migration-dir`");
    app.environment.diesel_config_file = Some("other.toml".into());
    assert_snapshot!(app.fails(1, "install"), @"error: can't read `other.toml`: No such file or directory (os error 2); mend that and run the command again");
}
