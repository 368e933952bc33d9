use insta::assert_snapshot;

use crate::util::App;

#[test]
fn writes_one_migration_and_tells_what_comes_next() {
    let app = App::new();
    assert_snapshot!(app.succeeds("install"), @r#"
    Wrote migrations/2026-05-04-120000_threadline_install/up.sql
    Wrote migrations/2026-05-04-120000_threadline_install/down.sql

    Keep the audit tables out of the application's schema.rs; in diesel.toml:

    [print_schema]
    filter = { except_tables = ["^audit_(actions|changes|commits|tables|transactions)$"] }

    Next: `diesel migration run`, then `threadline generate`.
    "#);
    assert_snapshot!(app.files(), @"
    migrations/2026-05-04-120000_threadline_install/down.sql
    migrations/2026-05-04-120000_threadline_install/up.sql
    ");
    assert_snapshot!(app.header("2026-05-04-120000_threadline_install"), @"
    -- threadline: base revision 1
    -- storage: public
    ");
}

#[test]
fn a_second_time_there_is_nothing_to_do() {
    let app = App::installed();
    let files = app.files();
    assert_snapshot!(app.succeeds("install"), @"The audit schema is up to date: nothing to write.");
    assert_snapshot!(app.succeeds("install --print-sql"), @"-- The audit schema is up to date: nothing to write.");
    assert_eq!(app.files(), files);
}

#[test]
fn another_schema_and_owner() {
    let app = App::new();
    assert_snapshot!(app.succeeds("install --schema audit --owner audit_owner"), @r#"
    Wrote migrations/2026-05-04-120000_threadline_install/up.sql
    Wrote migrations/2026-05-04-120000_threadline_install/down.sql

    Queries find the audit tables through search_path; put their schema at its end:

    ALTER ROLE … SET search_path = "$user", public, "audit";

    The schema "audit" will belong to "audit_owner", with the tables and functions in it.

    Next: `diesel migration run`, then `threadline generate`.
    "#);
    assert_snapshot!(app.header("2026-05-04-120000_threadline_install"), @"
    -- threadline: base revision 1
    -- storage: audit
    -- owner: audit_owner
    ");
    app.succeeds("install");
    assert_snapshot!(app.fails(1, "install --schema public"), @"error: migrations: `2026-05-04-120000_threadline_install` installs the audit tables in schema `audit`, not in `public`; leave `--schema` out, since moving an audit log is not a matter of a migration");
}

#[test]
fn what_an_owner_leaves_open_is_said() {
    let app = App::new();
    let output = app.succeeds("install --owner audit_owner --revoke-create");
    let (_, leaves_open) = output
        .split_once("$\"] }\n\n")
        .expect("the hint comes first");
    assert_snapshot!(leaves_open, @r#"
    The tables and functions will belong to "audit_owner"; the schema public can't: it belongs to the owner of the
    database, who may still drop them. With `--schema audit`, the schema belongs to "audit_owner" too.

    Next: `diesel migration run`, then `threadline generate`.
    "#);
    let sql = app.read("migrations/2026-05-04-120000_threadline_install/up.sql");
    assert!(sql.contains(r#"REVOKE CREATE ON SCHEMA "public" FROM PUBLIC;"#));
}

#[test]
fn an_older_one_is_upgraded() {
    let app = App::new();
    app.create(
        "migrations/1_base/up.sql",
        "-- threadline: base revision 0\n-- storage: audit\n\nSELECT 1;\n",
    );
    assert_snapshot!(app.fails(1, "generate --tables users"), @"error: migrations: `1_base` installs revision 0 of the audit schema and capture needs 1; run `threadline install` first, which adds what is missing");
    assert_snapshot!(app.succeeds("install --dry-run"), @"migrations/2026-05-04-120000_threadline_upgrade: adds to the audit tables what they lack");
    assert_snapshot!(app.succeeds("install"), @"
    Wrote migrations/2026-05-04-120000_threadline_upgrade/up.sql
    Wrote migrations/2026-05-04-120000_threadline_upgrade/down.sql

    Next: `diesel migration run`, then `threadline generate`.
    ");
    assert_snapshot!(app.header("2026-05-04-120000_threadline_upgrade"), @"
    -- threadline: base revision 1
    -- storage: audit
    ");
    app.succeeds("generate --tables users");
}

#[test]
fn neither_dry_run_nor_print_sql_writes() {
    let app = App::new();
    assert_snapshot!(app.succeeds("install --dry-run"), @"migrations/2026-05-04-120000_threadline_install: creates the audit tables");
    assert!(
        app.succeeds("install --print-sql")
            .starts_with("-- threadline: base revision ")
    );
    assert_eq!(app.files(), "");
}
