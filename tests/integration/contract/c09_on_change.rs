//! C9: columns that are stored only when they change, and read whole.

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::{AsOf, Definition, Level, Snapshot, prelude::*};
use threadline_tests::{TestDb, execute, rows, value};

diesel::table! {
    documents (id) { id -> BigInt, views -> Integer, body -> Nullable<Text>, raw -> Nullable<Json>, }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = documents)]
#[audited(store_changed_from, on_change(body))]
struct Document {
    id: i64,
    views: i32,
    body: Option<String>,
    #[audited(on_change)]
    raw: Option<Value>,
}

const LEVELS: [Level; 2] = [Level::Row, Level::Statement];

fn documents(level: Level) -> TestDb {
    let db = TestDb::new();
    db.create("CREATE TABLE documents (id bigint PRIMARY KEY, views integer NOT NULL, body text, raw json)");
    db.capture("documents", Document::DEFINITION.level(level));
    db
}

/// The versions of a row, newest first: views and body.
fn history(db: &TestDb, id: i64) -> Vec<(i32, Option<String>)> {
    let history = Document::history(id).load(&mut db.auditor()).unwrap();
    let rows = history.into_iter().map(|change| match change.snapshot {
        Snapshot::After(row) | Snapshot::Before(row) => (row.views, row.body),
        other => panic!("{other:?}"),
    });
    rows.collect()
}

fn versions(expected: &[(i32, Option<&str>)]) -> Vec<(i32, Option<String>)> {
    expected
        .iter()
        .map(|(views, body)| (*views, body.map(str::to_owned)))
        .collect()
}

#[test]
fn c09_an_unchanged_column_is_not_stored() {
    for level in LEVELS {
        let db = documents(level);
        let mut app = db.app();
        execute(
            &mut app,
            "INSERT INTO documents VALUES (1, 0, 'a', '{\"k\": 1}');
             UPDATE documents SET views = 1;
             UPDATE documents SET views = 2, body = 'b';
             UPDATE documents SET raw = '{\"k\":1}';
             UPDATE documents SET raw = '{\"k\":\"\\u0000\"}';
             UPDATE documents SET id = 2, raw = '{}'",
        );
        let images = rows(
            &mut db.auditor(),
            "SELECT op, data_after, changed_fields FROM audit_changes ORDER BY id",
        );
        let change = |op: &str, after: Value, fields: Value| json!({"op": op, "data_after": after, "changed_fields": fields});
        assert_eq!(
            images,
            [
                change(
                    "insert",
                    json!({"id": 1, "views": 0, "body": "a", "raw": {"k": 1}}),
                    Value::Null
                ),
                change("update", json!({"id": 1, "views": 1}), json!(["views"])),
                change(
                    "update",
                    json!({"id": 1, "views": 2, "body": "b"}),
                    json!(["body", "views"])
                ),
                // The text of a json value is what counts.
                change(
                    "update",
                    json!({"id": 1, "views": 2, "raw": {"k": 1}}),
                    json!(["raw"])
                ),
                // jsonb can't hold it, so the image is made column by column.
                change(
                    "update",
                    json!({"id": 1, "views": 2, "raw": "{\"k\":\"\\u0000\"}"}),
                    json!(["raw"])
                ),
                change("delete", Value::Null, Value::Null),
                change(
                    "insert",
                    json!({"id": 2, "views": 2, "body": "b", "raw": {}}),
                    Value::Null
                ),
            ]
        );
    }
}

/// The case that it is for: a counter beside a large document, which isn't even looked at.
#[test]
fn c09_a_counter_beside_a_document_takes_few_bytes() {
    for level in LEVELS {
        let db = documents(level);
        let mut app = db.app();
        let noise = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 25000) i)";
        execute(
            &mut app,
            &format!(
                "INSERT INTO documents VALUES (1, 0, {noise}); UPDATE documents SET views = views + 1"
            ),
        );
        let bytes = "SELECT pg_column_size(c.*) FROM audit_changes c ORDER BY id DESC LIMIT 1";
        let bytes = value(&mut db.auditor(), bytes).as_i64().unwrap();
        assert!(bytes < 500, "{bytes} bytes");
        let whole = history(&db, 1).remove(0).1.unwrap();
        assert_eq!(whole.len(), 25000 * 32);
    }
}

#[test]
fn c09_every_version_reads_whole() {
    for level in LEVELS {
        let db = documents(level);
        let mut app = db.app();
        for statement in [
            "INSERT INTO documents VALUES (1, 0, 'a'), (2, 0, 'other')",
            "UPDATE documents SET views = views + 1",
            "UPDATE documents SET body = NULL WHERE id = 1",
            "UPDATE documents SET views = views + 1",
            "UPDATE documents SET body = 'c' WHERE id = 1",
            "UPDATE documents SET views = views + 1",
            "DELETE FROM documents WHERE id = 1",
            "INSERT INTO documents VALUES (1, 9)",
            "UPDATE documents SET views = 10 WHERE id = 1",
        ] {
            execute(&mut app, statement);
        }
        assert_eq!(
            history(&db, 1),
            versions(&[
                (10, None),
                (9, None),
                (3, Some("c")),
                (3, Some("c")),
                (2, Some("c")),
                (2, None),
                (1, None),
                (1, Some("a")),
                (0, Some("a")),
            ])
        );
        assert_eq!(
            history(&db, 2),
            versions(&[
                (3, Some("other")),
                (2, Some("other")),
                (1, Some("other")),
                (0, Some("other")),
            ])
        );
    }
}

#[test]
fn c09_as_of_reads_whole() {
    let db = documents(Level::Row);
    let mut app = db.app();
    execute(&mut app, "INSERT INTO documents VALUES (1, 0, 'a')");
    execute(&mut app, "UPDATE documents SET views = 1");
    let mut auditor = db.auditor();
    let then = Document::history(1).load(&mut auditor).unwrap()[0].captured_at;
    execute(&mut app, "UPDATE documents SET body = 'b'");
    match Document::as_of(1, then).get_result(&mut auditor).unwrap() {
        AsOf::Found { row, .. } => assert_eq!((row.views, row.body.as_deref()), (1, Some("a"))),
        other => panic!("{other:?}"),
    }
}

/// What was left out stays left out, and is completed as before.
#[test]
fn c09_changes_from_before_a_new_policy_read_whole() {
    let db = documents(Level::Row);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO documents VALUES (1, 0, 'a'); UPDATE documents SET views = 1",
    );
    db.capture(
        "documents",
        Definition::new("Document", &["id"]).store_changed_from(),
    );
    execute(&mut app, "UPDATE documents SET views = 2");
    let stored =
        "SELECT jsonb_agg(data_after ? 'body' ORDER BY id) FROM audit_changes WHERE op = 'update'";
    assert_eq!(value(&mut db.auditor(), stored), json!([false, true]));
    assert_eq!(
        history(&db, 1),
        versions(&[(2, Some("a")), (1, Some("a")), (0, Some("a"))])
    );
}

/// Nothing is made up: the log has never seen the document.
#[test]
fn c09_what_was_never_recorded_reads_as_omitted() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE documents (id bigint PRIMARY KEY, views integer NOT NULL, body text, raw json);
         INSERT INTO documents VALUES (1, 0, 'from before')",
    );
    db.capture("documents", Document::DEFINITION);
    execute(&mut db.app(), "UPDATE documents SET views = 1");
    let change = Document::history(1)
        .load(&mut db.auditor())
        .unwrap()
        .remove(0);
    assert_eq!(change.omitted, ["body", "raw"]);
    let row = change.after().unwrap();
    assert_eq!((row.views, &row.body), (1, &None));
}

/// While capture was off, the document may have changed.
#[test]
fn c09_what_may_have_changed_in_a_gap_reads_as_omitted() {
    let db = documents(Level::Row);
    let mut app = db.app();
    execute(&mut app, "INSERT INTO documents VALUES (1, 0, 'a')");
    let mut owner = db.owner();
    execute(
        &mut owner,
        "SELECT threadline_release_v1('documents', 'documents', '2s')",
    );
    execute(&mut app, "UPDATE documents SET body = 'unseen'");
    db.capture("documents", Document::DEFINITION);
    execute(&mut app, "UPDATE documents SET views = 1");
    let change = Document::history(1)
        .load(&mut db.auditor())
        .unwrap()
        .remove(0);
    assert_eq!(change.omitted, ["body", "raw"]);
}

#[test]
fn c09_a_renamed_column_reads_whole() {
    diesel::table! { documents (id) { id -> BigInt, views -> Integer, content -> Nullable<Text>, } }

    #[derive(Debug, Queryable, Selectable, Audited)]
    #[diesel(table_name = documents)]
    struct Renamed {
        #[expect(dead_code, reason = "a model has its key")]
        id: i64,
        views: i32,
        #[audited(on_change, formerly = "body")]
        content: Option<String>,
    }

    let db = documents(Level::Row);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO documents VALUES (1, 0, 'a'); UPDATE documents SET views = 1",
    );
    db.create("ALTER TABLE documents RENAME body TO content");
    db.capture("documents", Renamed::DEFINITION);
    execute(&mut app, "UPDATE documents SET views = 2");
    let history = Renamed::history(1).load(&mut db.auditor()).unwrap();
    let versions: Vec<_> = history
        .iter()
        .map(|change| {
            let row = change.after().unwrap();
            (row.views, row.content.as_deref())
        })
        .collect();
    assert_eq!(versions, [(2, Some("a")), (1, Some("a")), (0, Some("a"))]);
}
