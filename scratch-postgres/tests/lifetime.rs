//! Whatever ends the process, its clusters go with it.
#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write, stderr};
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use scratch_postgres::ScratchPostgres;

const ENDING: &str = "SCRATCH_POSTGRES_ENDING";

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
        assert!(seen.runs());
        seen
    }

    fn runs(&self) -> bool {
        let mut ps = Command::new("ps");
        ps.args(["-p", &self.pid]).stdout(Stdio::null());
        ps.status().unwrap().success()
    }

    fn is_gone(&self) -> bool {
        !self.dir.exists() && !self.runs()
    }

    fn assert_goes(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.is_gone() {
            assert!(
                Instant::now() < deadline,
                "{} is still there",
                self.dir.display()
            );
            sleep(Duration::from_millis(20));
        }
    }
}

/// Runs `child` below in a process of its own, up to when its cluster has started.
fn process_that(ending: &str) -> (Child, Seen) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--include-ignored"])
        .env(ENDING, ending)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut dir = String::new();
    let mut output = BufReader::new(child.stderr.take().unwrap());
    output.read_line(&mut dir).unwrap();
    let seen = Seen::at(Path::new(dir.trim_end()));
    // Whatever else it says, such as the message of a panic, finds a reader.
    child.stderr = Some(output.into_inner());
    (child, seen)
}

#[test]
#[ignore = "run by the other tests, which tell it how to end"]
fn child() {
    let Ok(ending) = env::var(ENDING) else { return };
    let postgres = ScratchPostgres::start().unwrap();
    writeln!(stderr(), "{}", postgres.dir().display()).unwrap();
    let mut go = String::new();
    std::io::stdin().read_line(&mut go).unwrap();
    match ending.as_str() {
        "exits" => process::exit(0),
        "aborts" => process::abort(),
        "panics" => panic!("as told"),
        "forgets" => mem::forget(postgres),
        "leaves a child" => {
            let sleep = Command::new("sleep").arg("600").spawn().unwrap();
            writeln!(stderr(), "{}", sleep.id()).unwrap();
            process::abort();
        }
        _ => sleep(Duration::from_secs(600)),
    }
}

fn assert_goes_with_a_process_that(ending: &str) {
    let (mut child, seen) = process_that(ending);
    writeln!(child.stdin.as_ref().unwrap(), "go").unwrap();
    child.wait().unwrap();
    seen.assert_goes();
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
    assert_goes_with_a_process_that("exits");
}

#[test]
fn goes_after_abort() {
    assert_goes_with_a_process_that("aborts");
}

#[test]
fn goes_after_a_panic() {
    assert_goes_with_a_process_that("panics");
}

#[test]
fn goes_when_it_is_never_dropped() {
    assert_goes_with_a_process_that("forgets");
}

#[test]
fn goes_after_a_kill() {
    let (mut child, seen) = process_that("waits");
    child.kill().unwrap();
    child.wait().unwrap();
    seen.assert_goes();
}

#[test]
fn goes_although_a_child_of_the_process_lives_on() {
    let (mut child, seen) = process_that("leaves a child");
    writeln!(child.stdin.as_ref().unwrap(), "go").unwrap();
    let mut pid = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut pid)
        .unwrap();
    child.wait().unwrap();
    let kill = |signal| {
        Command::new("kill")
            .args([signal, pid.trim_end()])
            .status()
            .unwrap()
            .success()
    };
    seen.assert_goes();
    assert!(kill("-0"), "the child was to outlive the cluster");
    assert!(kill("-9"));
}
