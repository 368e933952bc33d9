//! Mutation control: each mutation of the capture SQL and of the read functions fails the test that is named with it.
//!
//! It runs for minutes, so `script/test --ci` asks for it by name.

use std::collections::BTreeSet;
use std::env;
use std::process::{Command, Stdio};

use threadline::Level;
use threadline::capture::{CapturePlan, Policy, Storage, base};
use threadline_tests::mutation::{Mutation, VARIABLE, all};

/// Runs one test in a process of its own. Whether it passed; `None` if there is no such test.
fn passes(test: &str, mutation: Option<&Mutation>) -> Option<bool> {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test]).stderr(Stdio::null());
    if let Some(mutation) = mutation {
        command.env(VARIABLE, mutation.name);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.contains("running 1 test")
        .then(|| output.status.success())
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

/// What became of it: the name of the test that fails, or why it doesn't count.
fn outcome(mutation: &Mutation, sound: bool) -> &'static str {
    let test = mutation.killed_by;
    match passes(test, Some(mutation)) {
        None => "NO SUCH TEST",
        Some(_) if !sound => "FAILS ANYWAY",
        Some(true) => "ALIVE",
        Some(false) => test.rsplit("::").next().unwrap_or(test),
    }
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
    let sound: BTreeSet<_> = tests
        .into_iter()
        .filter(|test| passes(test, None) == Some(true))
        .collect();
    let mut alive = Vec::new();
    println!("| mutation | killed by |\n|---|---|");
    for mutation in &mutations {
        let outcome = outcome(mutation, sound.contains(mutation.killed_by));
        println!("| {} | {outcome} |", mutation.name);
        if !mutation.killed_by.ends_with(outcome) {
            alive.push(format!(
                "{}: {outcome}: {}",
                mutation.name, mutation.killed_by
            ));
        }
    }
    assert_eq!(alive, [""; 0]);
}
