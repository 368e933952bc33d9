//! The tests that documents name are there.

use std::fs;
use std::path::{Path, PathBuf};

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/integration");

/// Whether there is a test, or a module of tests, under a path such as `contract::c04_keys`.
fn exists(path: &str) -> bool {
    let mut place = PathBuf::from(TESTS);
    let mut segments = path.split("::");
    while let Some(segment) = segments.next() {
        place.push(segment);
        let file = place.with_extension("rs");
        if file.is_file() {
            let text = fs::read_to_string(file).unwrap();
            return segments.all(|name| text.contains(name));
        } else if !place.is_dir() {
            return false;
        }
    }
    true
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(TESTS).join("../../docs").join(name)).unwrap()
}

#[test]
fn every_claim_about_tables_names_its_test() {
    let text = document("supported-tables.md");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() > 30, "{}", rows.len());
    let mut named = Vec::new();
    for row in &rows {
        let last = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        if last == "test" {
            continue;
        }
        let test = quoted(last).next();
        let test = test.unwrap_or_else(|| panic!("no test: {row}"));
        assert!(exists(&format!("contract::{test}")), "{row}");
        named.push(test);
    }
    // And what is tested is told.
    let cases = ["columns", "rows"].map(|file| {
        let path = format!("contract/c42_ddl/{file}.rs");
        fs::read_to_string(Path::new(TESTS).join(path)).unwrap()
    });
    let lines = cases.iter().flat_map(|text| text.lines());
    let tests = lines.filter_map(|line| line.strip_prefix("fn c42_"));
    for test in tests.filter_map(|line| line.strip_suffix("() {")) {
        let is_told = named
            .iter()
            .any(|name| name.ends_with(&format!("::c42_{test}")));
        let is_other = [
            "between_two_looks",
            "nothing_happened",
            "a_revert_of_what_ddl_changed",
            "a_column_that_came_and_went",
            "rows_that_were_truncated_before_they_were_known",
        ]
        .contains(&test);
        assert!(
            is_told || is_other,
            "docs/supported-tables.md doesn't tell of c42_{test}"
        );
    }
}

#[test]
fn what_is_said_of_renames_names_tests_that_are_there() {
    let text = document("deploying.md");
    let of_contract = quoted(&text)
        .filter(|name| name.starts_with("c17_"))
        .map(|name| format!("contract::c17_schema_change::{name}"));
    let tests: Vec<String> = of_contract
        .chain(["diesel_cli::renames".to_owned()])
        .collect();
    assert_eq!(tests.len(), 4, "{tests:?}");
    for test in tests {
        assert!(exists(&test), "{test}");
    }
}

#[test]
fn every_claim_about_security_names_a_test_that_is_there() {
    let text = document("security.md");
    let tests: Vec<&str> = quoted(&text)
        .filter(|name| name.starts_with("attacks::") || name.starts_with("contract::"))
        .collect();
    assert!(tests.len() > 10, "{tests:?}");
    for test in tests {
        assert!(exists(test), "{test}");
    }
}
