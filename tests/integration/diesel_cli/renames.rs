//! A table and a column that are renamed, deployed as `docs/deploying.md` says.

use std::fs;

use super::*;

diesel::table! { notes (id) { id -> Integer, body -> Text, } }
diesel::table! { memos (id) { id -> Integer, content -> Text, } }

#[derive(Audited)]
#[diesel(table_name = notes)]
struct Note;

#[derive(Audited)]
#[diesel(table_name = memos)]
#[audited(formerly = "notes", formerly(content = "body"))]
struct Memo;

fn write(app: &Application, migration: &str, up: &str, down: &str) {
    let folder = app.dir.path().join("migrations").join(migration);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("up.sql"), up).unwrap();
    fs::write(folder.join("down.sql"), down).unwrap();
}

#[test]
fn are_deployed_with_the_capture_after_them() {
    let Some(app) = Application::migrated() else {
        return;
    };
    write(
        &app,
        "2026-02-01-110000_create_notes",
        "CREATE TABLE notes (id integer PRIMARY KEY, body text NOT NULL); GRANT ALL ON notes TO tl_app",
        "DROP TABLE notes",
    );
    app.threadline(threadline::models![Note], &["generate"]);
    app.diesel(&["migration", "run"]).unwrap();
    execute(&mut app.db.app(), "INSERT INTO notes VALUES (1, 'a')");

    write(
        &app,
        "2026-02-02-110000_rename_notes",
        "ALTER TABLE notes RENAME TO memos; ALTER TABLE memos RENAME body TO content",
        "ALTER TABLE memos RENAME content TO body; ALTER TABLE memos RENAME TO notes",
    );
    app.threadline(threadline::models![Memo], &["generate"]);
    let newest = app.migrations().pop().unwrap();
    assert!(newest.ends_with("_threadline_capture_memos"), "{newest}");

    // Between the two nothing is written, and nothing is recorded under a wrong name.
    app.set_aside(&newest);
    app.diesel(&["migration", "run"]).unwrap();
    let refusal = try_execute(&mut app.db.app(), "INSERT INTO memos VALUES (2, 'b')").unwrap_err();
    assert!(refusal.contains("formerly = \"notes\""), "{refusal}");
    app.bring_back(&newest);
    app.diesel(&["migration", "run"]).unwrap();
    execute(&mut app.db.app(), "UPDATE memos SET content = 'b'");
    let history = rows(
        &mut app.db.owner(),
        r#"SELECT h.op, (d.row_image).content FROM threadline_history('memos', '{"id": 1}') h,
               threadline_decode(NULL::memos, 'memos', h.data_after, NULL) d ORDER BY h.id"#,
    );
    assert_eq!(
        history,
        [
            json!({"op": "insert", "content": "a"}),
            json!({"op": "update", "content": "b"})
        ]
    );

    // And back.
    app.diesel(&["migration", "revert"]).unwrap();
    app.diesel(&["migration", "revert"]).unwrap();
    execute(&mut app.db.app(), "UPDATE notes SET body = 'c'");
    let count = "SELECT count(*) FROM threadline_history('notes', '{\"id\": 1}')";
    assert_eq!(value(&mut app.db.owner(), count), 3);
    app.diesel(&["migration", "run"]).unwrap();
    execute(&mut app.db.app(), "UPDATE memos SET content = 'd'");
    let count = "SELECT count(*) FROM threadline_history('memos', '{\"id\": 1}')";
    assert_eq!(value(&mut app.db.owner(), count), 4);
}
