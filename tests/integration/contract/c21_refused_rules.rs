//! C21: rules that contradict themselves are refused when the plan is built, and the rest when the migration runs.

use serde_json::json;
use threadline::Definition;
use threadline::capture::{CapturePlan, Placeholder, PlanError, Policy, columns};
use threadline_tests::{TestDb, execute, value};

fn refusal(definition: Definition) -> String {
    CapturePlan::for_definition("people".parse().unwrap(), &definition)
        .unwrap_err()
        .to_string()
}

fn assert_says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{error}\ndoesn't say {part}");
    }
}

const PERSON: Definition = Definition::new("Person", &["id", "code"]);

#[test]
fn c21_a_column_in_both_lists() {
    let error = refusal(PERSON.mask(&["a", "ssn"]).exclude(&["ssn", "b"]));
    assert_says(&error, &["`people`", "`ssn`", "`exclude`", "`mask`"]);
    let policy = Policy {
        mask: columns(["ssn"]).unwrap(),
        exclude: columns(["ssn"]).unwrap(),
        ..Policy::default()
    };
    assert_eq!(
        CapturePlan::for_table("people".parse().unwrap(), policy),
        Err(PlanError::ExcludedAndMasked {
            table: "people".into(),
            column: "ssn".into()
        })
    );
}

#[test]
fn c21_a_key_column_in_either_list() {
    assert_says(
        &refusal(PERSON.mask(&["code"])),
        &["`people`", "`code`", "`mask`"],
    );
    assert_says(
        &refusal(PERSON.exclude(&["id"])),
        &["`people`", "`id`", "`exclude`"],
    );
}

#[test]
fn c21_a_placeholder_that_cannot_stand() {
    for (text, reason) in [
        ("", "is empty"),
        ("\u{1b}[31m", "control characters"),
        ("a\nb", "control characters"),
        ("a\0b", "control characters"),
        ("a\u{85}b", "control characters"),
    ] {
        assert_says(
            &refusal(PERSON.mask(&["ssn"]).mask_placeholder(text)),
            &["`people`", "placeholder", reason],
        );
    }
    let table = "people".parse().unwrap();
    let longest = "ä".repeat(200);
    assert_eq!(
        Placeholder::new(&table, longest.as_str()).unwrap().as_str(),
        longest
    );
    assert_says(
        &Placeholder::new(&table, longest + "x")
            .unwrap_err()
            .to_string(),
        &["`people`", "longer than 200 characters"],
    );
}

#[test]
fn c21_names_that_cannot_be_columns() {
    for name in ["", "a\0b", &"x".repeat(64)] {
        assert!(columns([name]).is_err(), "{name:?}");
    }
    assert!(columns([&"x".repeat(63)]).is_ok());
}

/// Refused when the migration runs, with nothing left behind and the application's writes working.
fn assert_migration_refused(db: &TestDb, plan: &CapturePlan, says: &[&str]) {
    assert_says(&db.apply(plan).unwrap_err().to_string(), says);
    assert_eq!(
        value(
            &mut db.auditor(),
            "SELECT jsonb_build_array((SELECT count(*) FROM audit_tables), (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '!threadline%'),
                (SELECT count(*) FROM pg_proc WHERE proname ~ '^threadline_capture_[0-9]+$'))"
        ),
        json!([0, 0, 0])
    );
    execute(
        &mut db.app(),
        "INSERT INTO people VALUES (1, 'x', 's'); DELETE FROM people",
    );
}

#[test]
fn c21_an_unknown_column_is_refused_by_the_migration() {
    let db = TestDb::new();
    db.create("CREATE TABLE people (id int PRIMARY KEY, code text, ssn text, \"Ssn\" text, gone text); ALTER TABLE people DROP COLUMN gone");
    let listing = |list: fn(&mut Policy, &str), column: &str| {
        let mut policy = Policy::default();
        list(&mut policy, column);
        CapturePlan::for_table("people".parse().unwrap(), policy).unwrap()
    };
    for column in ["snn", "SSN", "gone", "xmin", "it's \"quoted\""] {
        let lists: [fn(&mut Policy, &str); 4] = [
            |p, c| p.mask = columns([c]).unwrap(),
            |p, c| p.exclude = columns([c]).unwrap(),
            |p, c| p.except_columns = columns([c]).unwrap(),
            |p, c| p.ignore_only = columns([c]).unwrap(),
        ];
        for list in lists {
            assert_migration_refused(&db, &listing(list, column), &["people", column]);
        }
    }
    let unknown_key = CapturePlan::for_definition(
        "people".parse().unwrap(),
        &Definition::new("Person", &["uid"]),
    )
    .unwrap();
    assert_migration_refused(&db, &unknown_key, &["people", "key column uid"]);
}

#[test]
fn c21_a_redacted_key_from_the_catalog_is_refused_by_the_migration() {
    let db = TestDb::new();
    db.create("CREATE TABLE people (id int, code text, ssn text, PRIMARY KEY (code, id))");
    for policy in [
        Policy {
            mask: columns(["code"]).unwrap(),
            ..Policy::default()
        },
        Policy {
            exclude: columns(["code"]).unwrap(),
            ..Policy::default()
        },
    ] {
        let plan = CapturePlan::for_table("people".parse().unwrap(), policy).unwrap();
        assert_migration_refused(&db, &plan, &["people", "key column code"]);
    }
}

#[test]
fn c21_a_refused_plan_leaves_the_earlier_one_capturing() {
    let db = TestDb::new();
    db.create("CREATE TABLE people (id int PRIMARY KEY, ssn text)");
    db.capture("people", Definition::new("Person", &["id"]).mask(&["ssn"]));
    let error = db
        .try_capture("people", Definition::new("Person", &["id"]).mask(&["snn"]))
        .unwrap_err();
    assert_says(&error.to_string(), &["people", "snn"]);
    execute(&mut db.app(), "INSERT INTO people VALUES (1, 's')");
    assert_eq!(
        value(&mut db.auditor(), "SELECT data_after FROM audit_changes"),
        json!({"id": 1, "ssn": "[REDACTED]"})
    );
}
