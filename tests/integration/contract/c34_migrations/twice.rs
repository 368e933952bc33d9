//! Over what is there already.

use super::*;

#[test]
fn c34_installing_twice_changes_nothing() {
    let db = TestDb::new();
    db.audited("notes", NOTES);
    execute(&mut db.app(), "INSERT INTO notes VALUES (1, 'a')");
    let before = (catalog(&db), log(&db));
    execute(&mut db.owner(), &base_sql());
    assert_eq!((catalog(&db), log(&db)), before);

    // Each migration by itself, too, as an embedded source runs them.
    let mut owner = db.owner();
    for migration in MigrationSource::<Pg>::migrations(&MIGRATIONS).unwrap() {
        migration.run(&mut owner).unwrap();
    }
    assert_eq!((catalog(&db), log(&db)), before);
}

#[test]
fn c34_capturing_twice_changes_nothing() {
    let db = TestDb::new();
    db.audited("notes", NOTES);
    execute(&mut db.app(), "INSERT INTO notes VALUES (1, 'a')");
    // But for when it was looked at.
    let entry = |db: &TestDb| {
        value(
            &mut db.owner(),
            "SELECT to_jsonb(t) #- '{identity,at}' FROM audit_tables t",
        )
    };
    let before = (catalog(&db), log(&db), entry(&db));
    db.capture(
        "notes",
        Definition::new("Model", &["id"]).store_changed_from(),
    );
    assert_eq!((catalog(&db), log(&db), entry(&db)), before);
}

#[test]
fn c34_install_adds_what_an_older_schema_lacks_and_nothing_else() {
    let db = TestDb::new();
    db.audited("notes", NOTES);
    execute(&mut db.app(), "INSERT INTO notes VALUES (1, 'a')");
    let complete = catalog(&db);
    let line = log(&db);

    execute(
        &mut db.owner(),
        "DROP INDEX audit_changes_time;
         ALTER TABLE audit_changes DROP COLUMN changed_from;
         DROP FUNCTION threadline_history(regclass, jsonb);
         DROP FUNCTION threadline_seal_v1() CASCADE;
         DROP TRIGGER threadline_guard ON audit_actions;
         DROP TABLE audit_commits;
         REVOKE SELECT ON audit_transactions FROM threadline_reader",
    );
    let older = catalog(&db);
    execute(&mut db.owner(), &base_sql());
    let upgraded = catalog(&db);

    let names = |catalog: &[Value]| -> Vec<_> {
        catalog
            .iter()
            .map(|object| object["name"].clone())
            .collect()
    };
    assert_eq!(names(&upgraded), names(&complete));
    let replaced: Vec<_> = older
        .iter()
        .filter(|object| !upgraded.contains(object))
        .filter(|object| !object["name"].as_str().unwrap().starts_with("right "))
        .collect();
    assert_eq!(replaced, [] as [&Value; 0]);
    assert!(older.len() < complete.len() - 10);
    assert_eq!(log(&db), line);

    execute(&mut db.app(), "UPDATE notes SET text = 'b'");
    let mut auditor = db.auditor();
    let from = value(
        &mut auditor,
        r#"SELECT jsonb_agg(changed_from ORDER BY id) FROM threadline_history('notes', '{"id": 1}')"#,
    );
    assert_eq!(from, json!([null, {"text": "a"}]));
    assert_eq!(value(&mut auditor, "SELECT count(*) FROM audit_commits"), 1);
}

#[test]
fn c34_install_gives_up_on_a_log_in_use() {
    let db = TestDb::new();
    db.audited("notes", NOTES);
    let before = catalog(&db);
    let mut app = db.app();
    execute(&mut app, "BEGIN");
    execute(&mut app, "INSERT INTO notes VALUES (1, 'a')");
    let refusal = try_execute(&mut db.owner(), &base_sql()).unwrap_err();
    assert!(refusal.contains("lock timeout"), "{refusal}");
    assert_eq!(catalog(&db), before);
    execute(&mut app, "COMMIT");
    execute(&mut db.owner(), &base_sql());
}
