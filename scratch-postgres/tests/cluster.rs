//! What a running cluster offers.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use scratch_postgres::{Error, ScratchPostgres};

fn psql(postgres: &ScratchPostgres, url: &str, sql: &str) -> String {
    let output = Command::new(postgres.bin_dir().join("psql"))
        .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, url])
        .env("PGPORT", "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn answers_queries() {
    let postgres = ScratchPostgres::start().unwrap();
    let query = |sql| psql(&postgres, &postgres.url("postgres"), sql);

    assert_eq!(query("SELECT 6 * 7"), "42");
    assert_eq!(query("SHOW server_encoding"), "UTF8");
    assert_eq!(query("SHOW listen_addresses"), "");
    let version = query("SHOW server_version_num").parse::<u32>().unwrap();
    assert_eq!(version / 10_000, postgres.version());

    assert!(postgres.log().contains("ready to accept connections"));
}

#[test]
fn url_names_any_role_and_database() {
    let postgres = ScratchPostgres::start().unwrap();
    psql(
        &postgres,
        &postgres.url("postgres"),
        r#"CREATE ROLE "o'neil@work" LOGIN"#,
    );
    psql(
        &postgres,
        &postgres.url("postgres"),
        r#"CREATE DATABASE "50% ä""#,
    );
    assert_eq!(
        psql(
            &postgres,
            &postgres.url_as("o'neil@work", "50% ä"),
            "SELECT current_user || ' in ' || current_database()"
        ),
        "o'neil@work in 50% ä"
    );
}

#[test]
fn files_outlive_a_crash() {
    let postgres = ScratchPostgres::builder()
        .setting("synchronous_commit", "on")
        .start()
        .unwrap();
    let query = |sql| psql(&postgres, &postgres.url("postgres"), sql);
    query("CREATE TABLE survivors AS SELECT 1 AS n");
    let started = query("SELECT pg_postmaster_start_time()");
    for n in ["2", "3"] {
        postgres.crash_and_restart().unwrap();
        query("UPDATE survivors SET n = n + 1");
        assert_eq!(query("SELECT n FROM survivors"), n);
    }
    assert_ne!(query("SELECT pg_postmaster_start_time()"), started);
    assert!(postgres.log().contains("automatic recovery in progress"));
    let dir = postgres.dir().to_owned();
    drop(postgres);
    assert!(!dir.exists());
}

#[test]
fn commands_run_as_the_servers_user() {
    let postgres = ScratchPostgres::start().unwrap();
    let user = postgres.command("id").arg("-u").output().unwrap();
    let owner = fs::metadata(postgres.dir()).unwrap().uid().to_string();
    assert_eq!(String::from_utf8_lossy(&user.stdout).trim(), owner);
}

#[test]
fn clusters_do_not_see_each_other() {
    let (one, other) = (
        ScratchPostgres::start().unwrap(),
        ScratchPostgres::start().unwrap(),
    );
    psql(&one, &one.url("postgres"), "CREATE TABLE only_here ()");
    let found = "SELECT to_regclass('only_here') IS NOT NULL";
    assert_eq!(psql(&one, &one.url("postgres"), found), "t");
    assert_eq!(psql(&other, &other.url("postgres"), found), "f");
}

#[test]
fn only_the_current_user_can_reach_the_socket() {
    let postgres = ScratchPostgres::start().unwrap();
    let mode = fs::metadata(postgres.dir()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn settings_reach_the_server() {
    let postgres = ScratchPostgres::builder()
        .setting("max_prepared_transactions", "10")
        .setting("max_connections", "30")
        .start()
        .unwrap();
    let show = |name| {
        psql(
            &postgres,
            &postgres.url("postgres"),
            &format!("SHOW {name}"),
        )
    };
    assert_eq!(show("max_prepared_transactions"), "10");
    assert_eq!(show("max_connections"), "30");
}

#[test]
fn a_server_that_does_not_start_shows_its_log() {
    let error = ScratchPostgres::builder()
        .setting("no_such_setting", "1")
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Start { .. }));
    let message = error.to_string();
    assert!(
        message.contains(r#"unrecognized configuration parameter "no_such_setting""#),
        "{message}"
    );
}
