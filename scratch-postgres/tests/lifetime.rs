//! Whatever ends the process, its clusters go with it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use scratch_postgres::ScratchPostgres;

/// A cluster as seen from outside, by its folder and its server process.
struct Seen {
    dir: PathBuf,
    pid: String,
}

impl Seen {
    fn at(dir: &Path) -> Seen {
        let file = fs::read_to_string(dir.join("data/postmaster.pid")).unwrap();
        let seen = Seen {
            dir: dir.to_owned(),
            pid: file.lines().next().unwrap().to_owned(),
        };
        assert!(runs(&seen.pid));
        seen
    }

    fn is_gone(&self) -> bool {
        !self.dir.exists() && !runs(&self.pid)
    }

    fn assert_goes(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.is_gone() {
            let dir = self.dir.display();
            assert!(Instant::now() < deadline, "{dir} is still there");
            sleep(Duration::from_millis(20));
        }
    }
}

fn runs(pid: &str) -> bool {
    signal("-0", pid)
}

fn signal(signal: &str, pid: &str) -> bool {
    let script = r#"kill "$1" "$2" 2>/dev/null"#;
    let mut kill = Command::new("sh");
    kill.args(["-c", script, "sh", signal, pid]);
    kill.status().unwrap().success()
}

/// Another process with a cluster that has started.
struct Holder {
    process: Child,
    stdout: BufReader<ChildStdout>,
    cluster: Seen,
}

impl Holder {
    fn that_will(end: &str) -> Holder {
        let mut process = Command::new(env!("CARGO_BIN_EXE_holder"))
            .arg(end)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let cluster = Seen::at(Path::new(&line(&mut stdout)));
        Holder {
            process,
            stdout,
            cluster,
        }
    }

    fn end(&mut self) {
        writeln!(self.process.stdin.as_ref().unwrap(), "now").unwrap();
        self.process.wait().unwrap();
    }
}

fn line(stdout: &mut impl BufRead) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn assert_goes_with_a_process_that_will(end: &str) {
    let mut holder = Holder::that_will(end);
    holder.end();
    holder.cluster.assert_goes();
}

#[test]
fn goes_when_dropped() {
    let postgres = ScratchPostgres::start().unwrap();
    let seen = Seen::at(postgres.dir());
    drop(postgres);
    assert!(seen.is_gone());
}

#[test]
fn goes_after_exit() {
    assert_goes_with_a_process_that_will("exit");
}

#[test]
fn goes_after_abort() {
    assert_goes_with_a_process_that_will("abort");
}

#[test]
fn goes_after_a_panic() {
    assert_goes_with_a_process_that_will("panic");
}

#[test]
fn goes_when_it_is_never_dropped() {
    assert_goes_with_a_process_that_will("forget");
}

#[test]
fn goes_after_a_kill() {
    let mut holder = Holder::that_will("be killed");
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    holder.cluster.assert_goes();
}

#[test]
fn goes_although_a_child_of_the_process_lives_on() {
    let mut holder = Holder::that_will("leave a child");
    holder.end();
    let child = line(&mut holder.stdout);
    holder.cluster.assert_goes();
    assert!(signal("-KILL", &child), "the child was to outlive it");
}
