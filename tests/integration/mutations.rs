//! Mutation control: each mutation of the capture SQL and of the read functions fails the test that is named with it.
//!
//! It runs for minutes, so `script/test --ci` asks for it by name.

use std::collections::BTreeSet;
use std::env;
use std::process::{Command, Stdio};
use std::thread;

use threadline::Level;
use threadline::capture::{CapturePlan, Policy, Storage, base};
use threadline_tests::mutation::{Mutation, VARIABLE, all};

/// Runs tests in a process of their own. Those that passed; what is broken there breaks all of them alike.
fn passing(tests: &BTreeSet<&'static str>, mutation: Option<&Mutation>) -> BTreeSet<&'static str> {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg("--exact").args(tests).stderr(Stdio::null());
    if let Some(mutation) = mutation {
        command.env(VARIABLE, mutation.name);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = format!("running {} test", tests.len());
    assert!(said.contains(&count), "one of {tests:?} does not exist");
    // Broken SQL would fail anything.
    for broken in ["a mutation is still SQL", "syntax error"] {
        assert!(!said.contains(broken), "{mutation:?}: {said}");
    }
    let passed = |test: &&str| said.contains(&format!("test {test} ... ok"));
    tests.iter().copied().filter(passed).collect()
}

/// Everything that tests install: the audit schema, and the plan of a table for each level.
fn installed() -> Vec<String> {
    let plan = |level| {
        let policy = Policy {
            level,
            ..Policy::default()
        };
        let plan = CapturePlan::for_table("users".parse().unwrap(), policy).unwrap();
        plan.up_sql(&Storage::default())
    };
    let base = base::up_sql(&Storage::default(), None);
    vec![base, plan(Level::Row), plan(Level::Statement)]
}

#[test]
fn every_mutation_changes_something() {
    let sql = installed();
    let idle: Vec<_> = all()
        .into_iter()
        .filter(|mutation| !sql.iter().any(|sql| mutation.apply(sql).is_some()))
        .map(|mutation| mutation.name)
        .collect();
    assert_eq!(idle, [""; 0], "not found in the SQL, or more than once");
}

#[test]
#[ignore = "runs a process for each mutation; script/test --ci asks for it"]
#[expect(clippy::print_stdout, reason = "the run prints the table")]
fn every_mutation_is_killed() {
    let mutations = all();
    assert!(mutations.len() >= 30, "only {} mutations", mutations.len());
    let tests: BTreeSet<_> = mutations
        .iter()
        .map(|mutation| mutation.killed_by)
        .collect();
    assert_eq!(passing(&tests, None), tests, "without a mutation");

    let alive = |mutation: &&Mutation| {
        let test = BTreeSet::from([mutation.killed_by]);
        let alive = !passing(&test, Some(mutation)).is_empty();
        let fate = if alive { "ALIVE" } else { mutation.killed_by };
        println!("| {} | {fate} |", mutation.name);
        alive
    };
    println!("| mutation | killed by |\n|---|---|");
    let (one, other) = mutations.split_at(mutations.len() / 2);
    let alive: Vec<_> = thread::scope(|scope| {
        let halves = [one, other]
            .map(|half| scope.spawn(move || half.iter().filter(alive).collect::<Vec<_>>()));
        halves
            .into_iter()
            .flat_map(|half| half.join().unwrap())
            .map(|mutation| mutation.name)
            .collect()
    });
    assert_eq!(alive, [""; 0]);
}
