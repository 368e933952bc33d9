//! Finding the binaries and a place, in environments that make it hard.
#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{self, Command, Stdio};

/// The folder of a cluster that starts with this variable set, or why none does.
fn start_with(variable: &str, value: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_holder"))
        .env(variable, value)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_override_that_names_no_server_is_an_error() {
    let said = start_with("THREADLINE_PG_BIN", "/no/such/folder");
    let expected = "THREADLINE_PG_BIN is `/no/such/folder`, which does not hold `initdb`";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn a_server_that_does_not_run_is_named_with_its_own_words() {
    let dir = env::temp_dir().join(format!("scratch-postgres-broken-{}", process::id()));
    fs::create_dir(&dir).unwrap();
    for name in ["initdb", "postgres"] {
        fs::write(dir.join(name), "#!/bin/sh\necho missing library >&2\n").unwrap();
        fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let said = start_with("THREADLINE_PG_BIN", dir.to_str().unwrap());
    fs::remove_dir_all(&dir).unwrap();
    assert!(said.contains("postgres` does not run"), "{said}");
    assert!(said.contains("missing library"), "{said}");
}

#[test]
fn a_temporary_folder_too_long_for_a_socket_is_avoided() {
    let dir = env::temp_dir().join("no-room-for-a-socket-".repeat(5));
    fs::create_dir_all(&dir).unwrap();
    let said = start_with("TMPDIR", dir.to_str().unwrap());
    fs::remove_dir(&dir).unwrap();
    assert!(said.starts_with("/tmp/threadline-"), "{said}");
}

#[test]
fn a_temporary_folder_that_cannot_be_used_is_avoided() {
    let said = start_with("TMPDIR", "/no/such/folder");
    assert!(said.starts_with("/tmp/threadline-"), "{said}");
}
