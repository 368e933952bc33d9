//! Messages of a machine on which the server is not where it should be.
//!
//! Each case runs this test binary again, since the environment belongs to the whole process.
#![allow(clippy::unwrap_used)]

use std::env;
use std::process::Command;

use scratch_postgres::ScratchPostgres;

/// The message of a start in a process with these variables.
fn message_with(variables: &[(&str, &str)]) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--include-ignored"])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
#[ignore = "run by the other tests, in an environment of theirs"]
#[allow(clippy::print_stderr)]
fn child() {
    match ScratchPostgres::start() {
        Ok(postgres) => eprintln!("started in {}", postgres.dir().display()),
        Err(error) => eprintln!("{error}"),
    }
}

#[test]
fn an_override_that_names_no_server_is_an_error() {
    let message = message_with(&[("THREADLINE_PG_BIN", "/no/such/folder")]);
    assert!(
        message.starts_with("THREADLINE_PG_BIN is `/no/such/folder`, which does not hold"),
        "{message}"
    );
}

#[test]
fn an_override_wins_over_the_path() {
    let bin_dir = ScratchPostgres::start().unwrap().bin_dir().to_owned();
    let message = message_with(&[
        ("THREADLINE_PG_BIN", bin_dir.to_str().unwrap()),
        ("XDG_CACHE_HOME", "/no/such/folder"),
    ]);
    assert!(message.starts_with("started in"), "{message}");
}

#[test]
fn a_long_temporary_folder_is_avoided() {
    let long = env::temp_dir().join("a-folder-whose-name-leaves-no-room-for-a-socket".repeat(3));
    let message = message_with(&[("TMPDIR", long.to_str().unwrap())]);
    assert!(message.starts_with("started in /tmp/"), "{message}");
}

#[test]
fn a_temporary_folder_that_is_closed_to_the_server_is_avoided() {
    let message = message_with(&[("TMPDIR", "/no/such/folder")]);
    assert!(message.starts_with("started in /tmp/"), "{message}");
}
