//! What stands in the way of a revert, and what can be decided about it.

use threadline::{Decision, DecisionError, RevertError};

use super::*;

const TABLES: [&str; 2] = ["parents", "children"];

/// Fails with the conflict, and nothing is written.
fn refused(db: &TestDb, plan: &RevertPlan) -> Vec<Conflict> {
    let before = state(db, &TABLES);
    let error = plan.apply(&mut db.reverter(), &context()).unwrap_err();
    let RevertError::Undecided(conflicts) = error else {
        panic!("{error}")
    };
    assert_eq!(state(db, &TABLES), before);
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_actions"),
        0
    );
    conflicts
}

#[test]
fn a_row_that_has_changed_since() {
    let db = family();
    let transaction = work(&db, "UPDATE parents SET name = 'x'");
    execute(&mut db.app(), "UPDATE parents SET total = 5 WHERE id = 1");
    let mut plan = plan(&db, transaction);
    let conflicts = refused(&db, &plan);
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].columns, ["total"]);
    assert_eq!(conflicts[0].kind, ConflictKind::ChangedSince);
    assert_eq!(
        conflicts[0].to_string(),
        r#"public.parents id = "1": changed since (total)"#
    );

    plan.decide(&conflicts[0], Decision::Force).unwrap();
    plan.apply(&mut db.reverter(), &context()).unwrap();
    // What was changed later stays.
    assert_eq!(
        rows(
            &mut db.owner(),
            "SELECT name, total FROM parents ORDER BY id"
        ),
        [
            serde_json::json!({"name": "Ann", "total": 5}),
            serde_json::json!({"name": "Ben", "total": null})
        ]
    );
}

#[test]
fn a_skipped_row_stays_as_it_is() {
    let db = family();
    let transaction = work(&db, "UPDATE parents SET name = 'x'");
    execute(&mut db.app(), "UPDATE parents SET name = 'y' WHERE id = 1");
    let mut plan = plan(&db, transaction);
    let conflict = plan.conflicts()[0].clone();
    plan.decide(&conflict, Decision::Skip).unwrap();
    assert_eq!(plan.conflicts(), []);
    assert_eq!(plan.apply(&mut db.reverter(), &context()).unwrap().rows, 1);
    assert_eq!(
        rows(&mut db.owner(), "SELECT name FROM parents ORDER BY id"),
        [
            serde_json::json!({"name": "y"}),
            serde_json::json!({"name": "Ben"})
        ]
    );
}

/// Changed behind the log's back, too.
#[test]
fn a_row_that_changed_without_a_record() {
    let db = family();
    let transaction = work(&db, "UPDATE parents SET name = 'x' WHERE id = 1");
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica; UPDATE parents SET name = 'y' WHERE id = 1",
    );
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts()[0].columns, ["name"]);
    refused(&db, &plan);
}

#[test]
fn a_row_that_is_gone() {
    let db = family();
    let transaction = work(&db, "UPDATE parents SET name = 'x' WHERE id = 2");
    execute(&mut db.app(), "DELETE FROM parents WHERE id = 2");
    let mut plan = plan(&db, transaction);
    let conflicts = refused(&db, &plan);
    assert_eq!(
        kinds(&plan),
        [("public.parents", r#""2""#.into(), &ConflictKind::Gone)]
    );
    assert_eq!(
        plan.decide(&conflicts[0], Decision::Force),
        Err(DecisionError::NotForcible(Box::new(conflicts[0].clone())))
    );
}

#[test]
fn a_key_that_is_taken() {
    let db = family();
    let transaction = work(&db, "DELETE FROM parents");
    execute(
        &mut db.app(),
        "INSERT INTO parents VALUES (1, 'other', NULL, NULL), (5, 'fifth', 'b@x', NULL)",
    );
    let plan = plan(&db, transaction);
    let taken: Vec<_> = plan.conflicts().iter().map(ToString::to_string).collect();
    assert_eq!(
        taken,
        [
            r#"public.parents id = "1": another row lives under its key (id)"#,
            r#"public.parents id = "2": the key parents_email_key (email) is taken by the row {"id": "5"}"#
        ]
    );
    refused(&db, &plan);
}

#[test]
fn a_child_without_its_parent_and_a_parent_that_is_still_named() {
    let db = family();
    let deleted = work(&db, "DELETE FROM children WHERE parent_id = 2");
    execute(&mut db.app(), "DELETE FROM parents WHERE id = 2");
    let orphan = plan(&db, deleted);
    assert_eq!(
        orphan.conflicts()[0].kind,
        ConflictKind::MissingParent {
            constraint: "children_parent_id_fkey".into(),
            parent: "parents".into()
        }
    );
    refused(&db, &orphan);

    let inserted = work(&db, "INSERT INTO parents VALUES (8, 'p', NULL, NULL)");
    execute(
        &mut db.app(),
        "INSERT INTO children (parent_id) VALUES (8), (8)",
    );
    let named = plan(&db, inserted);
    assert_eq!(
        named.conflicts()[0].kind,
        ConflictKind::StillReferenced {
            constraint: "children_parent_id_fkey".into(),
            child: "children".into(),
            rows: 2
        }
    );
    refused(&db, &named);
}

/// Skipping a parent that can't come back makes a conflict of its children.
#[test]
fn a_decision_has_consequences() {
    let db = family();
    let transaction = work(&db, "DELETE FROM parents WHERE id = 2");
    execute(
        &mut db.app(),
        "INSERT INTO parents VALUES (5, 'fifth', 'b@x', NULL)",
    );
    let mut plan = plan(&db, transaction);
    assert_eq!(plan.conflicts().len(), 1);
    let taken = plan.conflicts()[0].clone();
    plan.decide(&taken, Decision::Skip).unwrap();
    assert!(
        matches!(plan.conflicts()[0].kind, ConflictKind::MissingParent { .. }),
        "{:?}",
        plan.conflicts()
    );
    plan.decide_all(|_| Some(Decision::Skip)).unwrap();
    let error = plan.apply(&mut db.reverter(), &context()).unwrap_err();
    assert!(matches!(error, RevertError::Nothing), "{error}");
}

/// A conflict that comes up between preview and application stops it.
#[test]
fn the_plan_is_made_again_under_locks() {
    let db = family();
    let transaction = work(&db, "UPDATE parents SET name = 'x'");
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts(), []);
    execute(&mut db.app(), "UPDATE parents SET name = 'y' WHERE id = 1");
    let conflicts = refused(&db, &plan);
    assert_eq!(conflicts[0].kind, ConflictKind::ChangedSince);
}

#[test]
fn a_truncated_table_gets_its_rows_back() {
    let db = family();
    let before = state(&db, &TABLES);
    let transaction = work(
        &db,
        "BEGIN; UPDATE children SET note = 'x' WHERE id = 1; INSERT INTO children (parent_id) VALUES (1);
         DELETE FROM children WHERE id = 2; TRUNCATE parents CASCADE; COMMIT",
    );
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts(), []);
    assert_eq!(plan.apply(&mut db.reverter(), &context()).unwrap().rows, 5);
    assert_eq!(state(&db, &TABLES), before);
}

/// Of rows from before the log nothing is known.
#[test]
fn truncate_of_unknown_rows_is_named() {
    let db = TestDb::new();
    db.create(CREATE);
    execute(
        &mut db.app(),
        "INSERT INTO parents VALUES (1, 'old', NULL, NULL)",
    );
    for table in TABLES {
        db.capture(table, threadline::Definition::new("Model", &["id"]));
    }
    execute(
        &mut db.app(),
        "INSERT INTO parents VALUES (2, 'new', NULL, NULL)",
    );
    let transaction = work(&db, "TRUNCATE parents CASCADE");
    let mut plan = plan(&db, transaction);
    assert_eq!(
        kinds(&plan),
        [("public.parents", String::new(), &ConflictKind::Truncated)]
    );
    refused(&db, &plan);
    plan.decide_all(|_| Some(Decision::Skip)).unwrap();
    assert_eq!(plan.apply(&mut db.reverter(), &context()).unwrap().rows, 1);
    assert_eq!(
        rows(&mut db.owner(), "SELECT name FROM parents"),
        [serde_json::json!({"name": "new"})]
    );
}
