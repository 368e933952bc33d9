//! Programs that tests run beside the server.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::postgres;

/// Folders that packages install programs to and that a user's `PATH` may lack.
const INSTALLED: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];

/// A program, by preference that of the server's version: PostgreSQL's own stand beside the server, in most packages.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let debian = Path::new("/usr/lib/postgresql")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"));
    [postgres().bin_dir().to_owned()]
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(INSTALLED.map(PathBuf::from))
        .chain(debian)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Runs a program to its end. Returns what it printed.
pub fn run(name: &str, arguments: &[&str]) -> String {
    let program = program(name).unwrap_or_else(|| panic!("no {name} on this machine"));
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Says that a test is skipped, and why. In CI nothing is skipped.
pub fn skip(missing: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "{missing}");
    // Past the test harness, which keeps what passing tests print to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {missing}");
}
