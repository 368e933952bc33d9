//! Columns that are stored now and then, and those that came, went or changed.

use super::*;

#[test]
fn columns_that_are_stored_on_change_are_whole() {
    let db = TestDb::new();
    db.create("CREATE TABLE docs (id bigint PRIMARY KEY, body text, views integer)");
    db.capture("docs", Definition::new("Doc", &["id"]).on_change(&["body"]));
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO docs VALUES (1, 'first', 0), (2, NULL, 0); UPDATE docs SET views = 1; UPDATE docs SET body = 'second' WHERE id = 1;
         UPDATE docs SET views = 2",
    );
    let moment = clock(&mut app);
    execute(&mut app, "UPDATE docs SET body = 'third', views = 3");
    let then = [
        json!({"id": 1, "body": "second", "views": 2}),
        json!({"id": 2, "body": null, "views": 2}),
    ];
    let mut found = table_at(&db, "docs", moment);
    found.sort_by_key(|row| row["id"].as_i64());
    assert_eq!(found, then);
}

#[test]
fn columns_that_were_added_renamed_or_dropped() {
    let db = TestDb::new();
    db.create("CREATE TABLE things (id bigint PRIMARY KEY, label text, gone integer)");
    let definition = Definition::new("Thing", &["id"]);
    db.capture("things", definition);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO things VALUES (1, 'one', 1), (2, 'two', 2)",
    );
    let moment = clock(&mut app);
    db.create(
        "ALTER TABLE things RENAME label TO title; ALTER TABLE things DROP gone;
         ALTER TABLE things ADD size integer NOT NULL DEFAULT 7",
    );
    db.capture("things", definition.columns_formerly(&[("title", "label")]));
    execute(
        &mut app,
        "UPDATE things SET title = 'ONE', size = 8 WHERE id = 1",
    );
    assert_eq!(
        table_at(&db, "things", moment),
        [
            json!({"id": 1, "title": "one", "size": 7}),
            json!({"id": 2, "title": "two", "size": 7})
        ]
    );
}

/// Where the numbers of columns tell nothing, what the model says counts.
#[test]
fn columns_that_were_added_or_renamed_in_a_restored_copy() {
    let db = TestDb::new();
    db.create("CREATE TABLE things (id bigint PRIMARY KEY, label text)");
    let definition = Definition::new("Thing", &["id"]);
    db.capture("things", definition);
    let mut app = db.app();
    execute(&mut app, "INSERT INTO things VALUES (1, 'one')");
    let moment = clock(&mut app);
    execute(
        &mut db.superuser(),
        "UPDATE audit_tables SET identity = identity || '{\"cluster\": \"another\"}'",
    );
    db.create(
        "ALTER TABLE things RENAME label TO title; ALTER TABLE things ADD size integer NOT NULL DEFAULT 7",
    );
    db.capture("things", definition.columns_formerly(&[("title", "label")]));
    assert_eq!(
        table_at(&db, "things", moment),
        [json!({"id": 1, "title": "one", "size": 7})]
    );
}

/// Changes of these alone are not recorded, so the table may be ahead of its log.
#[test]
fn columns_whose_changes_alone_are_ignored_come_from_the_log() {
    let db = TestDb::new();
    db.create("CREATE TABLE seen (id bigint PRIMARY KEY, n integer, at integer)");
    db.capture(
        "seen",
        Definition::new("Seen", &["id"]).ignore_only(&["at"]),
    );
    let mut app = db.app();
    execute(&mut app, "INSERT INTO seen VALUES (1, 1, 1)");
    let moment = clock(&mut app);
    execute(&mut app, "UPDATE seen SET at = 2");
    assert_eq!(
        table_at(&db, "seen", moment),
        [json!({"id": 1, "n": 1, "at": 1})]
    );
}

#[test]
fn a_row_that_does_not_fit_the_table_any_more() {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TYPE size AS ENUM ('large', '7', '1'); CREATE TABLE items (id bigint PRIMARY KEY, size size NOT NULL)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'large'), (2, '7')",
    );
    let moment = clock(&mut db.app());
    execute(&mut db.app(), "UPDATE items SET size = '1'");
    db.create("ALTER TYPE size RENAME VALUE 'large' TO 'big'");
    let ask = format!(
        "SELECT count(*) FROM threadline_moment(NULL::items, 'items', '{}')",
        moment.to_rfc3339()
    );
    let said = threadline_tests::try_execute(&mut db.auditor(), &ask).unwrap_err();
    for part in ["table items", "column size", "large", "Model::as_of"] {
        assert!(said.contains(part), "{said}");
    }
}
