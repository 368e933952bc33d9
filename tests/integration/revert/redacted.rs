//! Redacted values: not restored, and nowhere in a plan or a diff.

use threadline::{Decision, DiffOptions, change_diff, diff_with_history};

use super::*;

/// Put together by the server, so that no statement has them.
const CANARY: &str = "'canary' || '-' || left(md5('bird'), 8)";

const BIRDS: &str = "CREATE TABLE birds (id int PRIMARY KEY, name text, masked text, excluded text, needed text NOT NULL)";

fn birds() -> TestDb {
    let db = TestDb::new();
    db.create(BIRDS);
    db.capture(
        "birds",
        threadline::Definition::new("Bird", &["id"])
            .store_changed_from()
            .mask(&["masked", "needed"])
            .exclude(&["excluded"]),
    );
    execute(
        &mut db.app(),
        &format!("INSERT INTO birds VALUES (1, 'control', {CANARY}, {CANARY}, {CANARY})"),
    );
    db
}

fn live(db: &TestDb) -> Vec<serde_json::Value> {
    rows(
        &mut db.owner(),
        &format!(
            "SELECT name, masked = {CANARY} AS masked, excluded = {CANARY} AS excluded, needed = {CANARY} AS needed FROM birds"
        ),
    )
}

#[test]
fn other_columns_of_the_row_are_restored() {
    let db = birds();
    let transaction = work(&db, "UPDATE birds SET name = 'other'");
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts(), []);
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(
        live(&db),
        [serde_json::json!({"name": "control", "masked": true, "excluded": true, "needed": true})]
    );
}

#[test]
fn a_changed_value_is_a_conflict_that_can_be_forced() {
    let db = birds();
    let transaction = work(&db, "UPDATE birds SET name = 'other', masked = 'new'");
    let mut plan = plan(&db, transaction);
    let conflict = plan.conflicts()[0].clone();
    assert_eq!(conflict.kind, ConflictKind::Redacted);
    assert_eq!(conflict.columns, ["masked"]);
    assert!(plan.apply(&mut db.reverter(), &context()).is_err());
    plan.decide(&conflict, Decision::Force).unwrap();
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(
        live(&db),
        [serde_json::json!({"name": "control", "masked": false, "excluded": true, "needed": true})]
    );
}

#[test]
fn null_is_no_secret() {
    let db = birds();
    execute(&mut db.app(), "UPDATE birds SET masked = NULL");
    let transaction = work(&db, "UPDATE birds SET masked = 'new'");
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts(), []);
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(live(&db)[0]["masked"], serde_json::Value::Null);
}

#[test]
fn a_redacted_value_that_changed_since_is_noticed() {
    let db = birds();
    let transaction = work(&db, "UPDATE birds SET name = 'other'");
    execute(&mut db.app(), "UPDATE birds SET masked = 'later'");
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts()[0].kind, ConflictKind::ChangedSince);
    assert_eq!(plan.conflicts()[0].columns, ["masked"]);
}

/// NOT NULL, and no default: without its value the row can't come back.
#[test]
fn a_deleted_row_that_needs_the_value_can_only_be_skipped() {
    let db = birds();
    let transaction = work(&db, "DELETE FROM birds");
    let plan = plan(&db, transaction);
    assert_eq!(plan.conflicts().len(), 1);
    assert_eq!(
        plan.conflicts()[0].columns,
        ["masked", "excluded", "needed"]
    );
    assert!(!plan.conflicts()[0].may_force());

    execute(
        &mut db.owner(),
        "ALTER TABLE birds ALTER needed SET DEFAULT 'unknown'",
    );
    let mut plan = super::plan(&db, transaction);
    plan.decide_all(|_| Some(Decision::Force)).unwrap();
    plan.apply(&mut db.reverter(), &context()).unwrap();
    assert_eq!(
        rows(&mut db.owner(), "SELECT * FROM birds"),
        [
            serde_json::json!({"id": 1, "name": "control", "masked": null, "excluded": null, "needed": "unknown"})
        ]
    );
}

/// Every text that a diff or a plan makes, after every kind of write.
#[test]
fn no_raw_value_is_in_a_diff_or_a_plan() {
    let db = birds();
    let mut app = db.app();
    let mut transactions = vec![newest_transaction(&db)];
    for sql in [
        format!(
            "UPDATE birds SET masked = {CANARY} || '2', excluded = {CANARY} || '2', name = 'control2'"
        ),
        format!("UPDATE birds SET needed = {CANARY} || repeat('x', 1100000)"),
        "UPDATE birds SET id = 2".to_owned(),
        "DELETE FROM birds".to_owned(),
        format!("INSERT INTO birds VALUES (2, 'control', {CANARY}, {CANARY}, {CANARY})"),
        "TRUNCATE birds".to_owned(),
        format!("INSERT INTO birds VALUES (1, 'control', {CANARY}, {CANARY}, {CANARY})"),
    ] {
        execute(&mut app, &sql);
        transactions.push(newest_transaction(&db));
    }
    let mut texts = Vec::new();
    for transaction in transactions {
        let plan = plan(&db, transaction);
        texts.push(format!("{plan:?}{}", plan.to_sql()));
        if let Err(error) = plan.apply(&mut db.reverter(), &context()) {
            texts.push(format!("{error}{error:?}"));
        }
    }
    let ids = rows(
        &mut db.auditor(),
        "SELECT id FROM audit_changes ORDER BY id",
    );
    let options = DiffOptions::new()
        .expand_insert_fields()
        .expand_delete_fields();
    for id in ids {
        let change = diff_with_history(id["id"].as_i64().unwrap())
            .get_result(&mut db.auditor())
            .unwrap();
        let diff = change_diff(&change, options);
        texts.push(format!("{change:?}{diff:?}{}", diff.json_ready()));
    }
    let text = texts.concat();
    assert!(text.contains("control"));
    assert!(
        !text.contains("canary-"),
        "{}",
        text.split_once("canary-").unwrap().0
    );
}
