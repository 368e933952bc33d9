use insta::assert_snapshot;

use crate::util::App;

#[test]
fn one_migration_a_table() {
    let app = App::installed();
    assert_snapshot!(app.succeeds("generate --tables users,billing.posts"), @"
    Wrote migrations/2026-05-04-120001-0001_threadline_capture_users/up.sql
    Wrote migrations/2026-05-04-120001-0001_threadline_capture_users/down.sql
    Wrote migrations/2026-05-04-120001-0002_threadline_capture_billing_posts/up.sql
    Wrote migrations/2026-05-04-120001-0002_threadline_capture_billing_posts/down.sql

    Next: `diesel migration run`.
    ");
    assert_snapshot!(app.files(), @"
    migrations/2026-05-04-120000_threadline_install/down.sql
    migrations/2026-05-04-120000_threadline_install/up.sql
    migrations/2026-05-04-120001-0001_threadline_capture_users/down.sql
    migrations/2026-05-04-120001-0001_threadline_capture_users/up.sql
    migrations/2026-05-04-120001-0002_threadline_capture_billing_posts/down.sql
    migrations/2026-05-04-120001-0002_threadline_capture_billing_posts/up.sql
    ");
    assert_snapshot!(app.header("2026-05-04-120001-0002_threadline_capture_billing_posts"), @"
    -- threadline: capture billing.posts
    -- fingerprint: [16 digits]
    -- storage: public
    ");
}

#[test]
fn a_second_time_nothing_changed() {
    let app = App::installed();
    app.succeeds("generate --tables users --mask ssn");
    let files = app.files();
    assert_snapshot!(app.succeeds("generate --tables users --mask ssn"), @"Nothing changed: the migrations capture every table as asked.");
    assert_snapshot!(app.succeeds("generate --tables users --mask ssn --print-sql"), @"-- Nothing changed.");
    assert_eq!(app.files(), files);
}

#[test]
fn a_changed_policy_rolls_back_to_the_one_before() {
    let app = App::installed();
    app.succeeds("generate --tables users --mask ssn");
    app.succeeds("generate --tables users --mask ssn,email");
    let down = app.read("migrations/2026-05-04-120002_threadline_capture_users/down.sql");
    let first = app.sql("2026-05-04-120001_threadline_capture_users");
    assert_eq!(down, format!("-- Captures users as before.\n\n{first}"));
}

#[test]
fn a_redaction_that_was_forgotten_is_told() {
    let app = App::installed();
    app.succeeds("generate --tables users --mask ssn,email");
    assert_snapshot!(app.succeeds("generate --tables users,posts --dry-run"), @"
    users: key=(primary key) exclude=- mask=- except=- (changed, no longer redacted: email,ssn)
    posts: key=(primary key) exclude=- mask=- except=- (new)
    ");
    assert_snapshot!(app.succeeds("generate --tables users,posts"), @"
    Wrote migrations/2026-05-04-120002-0001_threadline_capture_users/up.sql
    Wrote migrations/2026-05-04-120002-0001_threadline_capture_users/down.sql
    Wrote migrations/2026-05-04-120002-0002_threadline_capture_posts/up.sql
    Wrote migrations/2026-05-04-120002-0002_threadline_capture_posts/down.sql
    Note: `2026-05-04-120002-0001_threadline_capture_users` redacts `email` no longer: its values are stored in the clear from then on.
    Note: `2026-05-04-120002-0001_threadline_capture_users` redacts `ssn` no longer: its values are stored in the clear from then on.

    Next: `diesel migration run`.
    ");
    assert_snapshot!(app.header("2026-05-04-120002-0001_threadline_capture_users"), @"
    -- threadline: capture users
    -- fingerprint: [16 digits]
    -- no longer redacted: email, ssn
    -- storage: public
    ");
}

#[test]
fn dry_run_shows_each_table_with_its_rules() {
    let app = App::installed();
    app.succeeds("generate --tables users,posts --exclude users.password_hash");
    assert_snapshot!(
        app.succeeds("generate --dry-run --tables users,posts,billing.invoices --exclude users.password_hash --mask posts.body,billing.invoices.iban"),
        @"
    users: key=(primary key) exclude=password_hash mask=- except=- (unchanged)
    posts: key=(primary key) exclude=- mask=body except=- (changed)
    billing.invoices: key=(primary key) exclude=- mask=iban except=- (new)
    "
    );
    assert_snapshot!(
        app.succeeds("generate --dry-run --tables users --store-changed-from --except-columns updated_at --ignore-only seen_at,seen_by --mask ssn --mask-placeholder *** --require-actor=known"),
        @r#"users: key=(primary key) exclude=- mask=ssn except=updated_at placeholder="***" store_changed_from ignore_only=seen_at,seen_by require_actor=known (changed, no longer redacted: password_hash)"#
    );
    assert_snapshot!(app.succeeds("generate --dry-run --tables users --prune"), @"
    users: key=(primary key) exclude=- mask=- except=- (changed, no longer redacted: password_hash)
    posts (capture ends)
    ");
}

#[test]
fn check_fails_while_a_migration_is_missing() {
    let app = App::installed();
    let before = app.files();
    let missing = app.run("generate --check --tables users,posts");
    assert_eq!(missing.code, 1);
    assert_snapshot!(missing.out, @"
    users: key=(primary key) exclude=- mask=- except=- (new)
    posts: key=(primary key) exclude=- mask=- except=- (new)
    ");
    assert_snapshot!(missing.err, @"error: the migrations don't capture every table as asked: 2 to write; run `threadline generate` and commit what it writes");
    assert_eq!(app.files(), before);
    app.succeeds("generate --tables users,posts");
    assert_snapshot!(app.succeeds("generate --check --tables users,posts"), @"
    users: key=(primary key) exclude=- mask=- except=- (unchanged)
    posts: key=(primary key) exclude=- mask=- except=- (unchanged)
    ");
    // Of one that ends a capture, too.
    assert_eq!(app.run("generate --check --tables users --prune").code, 1);
}

#[test]
fn print_sql_shows_what_would_be_written() {
    let app = App::installed();
    let printed = app.succeeds("generate --tables users --print-sql");
    app.succeeds("generate --tables users");
    assert_eq!(
        printed,
        app.read("migrations/2026-05-04-120001_threadline_capture_users/up.sql")
    );
}

#[test]
fn odd_names_are_quoted_and_stay_harmless() {
    let app = App::installed();
    let tables = "\"a.b\",Ünï.\"x\ny\"";
    assert_eq!(app.run_args(&["generate", "--tables", tables]).code, 0);
    assert_snapshot!(app.files(), @"
    migrations/2026-05-04-120000_threadline_install/down.sql
    migrations/2026-05-04-120000_threadline_install/up.sql
    migrations/2026-05-04-120001-0001_threadline_capture_a_b/down.sql
    migrations/2026-05-04-120001-0001_threadline_capture_a_b/up.sql
    migrations/2026-05-04-120001-0002_threadline_capture_n_x_y/down.sql
    migrations/2026-05-04-120001-0002_threadline_capture_n_x_y/up.sql
    ");
    assert_snapshot!(app.header("2026-05-04-120001-0002_threadline_capture_n_x_y"), @r#"
    -- threadline: capture "Ünï"."x\ny"
    -- fingerprint: [16 digits]
    -- storage: public
    "#);
    assert_snapshot!(app.run_args(&["generate", "--dry-run", "--tables", tables]).out, @r#"
    "a.b": key=(primary key) exclude=- mask=- except=- (unchanged)
    Ünï."x\ny": key=(primary key) exclude=- mask=- except=- (unchanged)
    "#);
}

#[test]
fn prune_ends_what_is_not_in_the_list() {
    let app = App::installed();
    app.succeeds("generate --tables users,posts");
    assert_snapshot!(app.succeeds("generate --tables users"), @"Nothing changed: the migrations capture every table as asked.");
    assert_snapshot!(app.succeeds("generate --tables users --prune"), @"
    Wrote migrations/2026-05-04-120002_threadline_release_posts/up.sql
    Wrote migrations/2026-05-04-120002_threadline_release_posts/down.sql

    Next: `diesel migration run`.
    ");
    let name = "2026-05-04-120002_threadline_release_posts";
    assert_snapshot!(app.header(name), @"-- threadline: release posts");
    let down = app.read(&format!("migrations/{name}/down.sql"));
    assert!(down.contains(&app.sql("2026-05-04-120001-0002_threadline_capture_posts")));
    assert_snapshot!(app.succeeds("generate --tables users --prune"), @"Nothing changed: the migrations capture every table as asked.");
}

#[test]
fn versions_sort_after_what_is_there() {
    let app = App::installed();
    app.create("migrations/00000000000000_diesel_initial_setup/up.sql", "");
    app.create("migrations/20990101000000_x/up.sql", "");
    assert_snapshot!(app.succeeds("generate --tables users,posts"), @"
    Wrote migrations/2099-01-01-000001-0001_threadline_capture_users/up.sql
    Wrote migrations/2099-01-01-000001-0001_threadline_capture_users/down.sql
    Wrote migrations/2099-01-01-000001-0002_threadline_capture_posts/up.sql
    Wrote migrations/2099-01-01-000001-0002_threadline_capture_posts/down.sql

    Next: `diesel migration run`.
    ");
    app.create("migrations/99999999999999_y/up.sql", "");
    assert_snapshot!(app.succeeds("generate --tables comments"), @"
    Wrote migrations/999999999999991_threadline_capture_comments/up.sql
    Wrote migrations/999999999999991_threadline_capture_comments/down.sql

    Next: `diesel migration run`.
    ");
}
