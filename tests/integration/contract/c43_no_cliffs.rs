//! C43: what a captured row costs doesn't depend on what came before it. Counted, not timed: how often a row's image is made by a
//! query of its own, and how often a row is read again.

use serde_json::{Value, json};
use threadline::{Definition, Level};
use threadline_tests::{TestDb, execute, rows};

/// Functions that are called for a row only where something is the matter with it.
const RARE: &str =
    "'threadline_image_sql_v1', 'threadline_images_query_v1', 'threadline_differences_sql_v1',
    'threadline_current_image_v1', 'threadline_recheck_v1', 'threadline_rows_query_v1'";

const ROWS: usize = 50;

/// How often each of them is called while SQL runs in one transaction.
fn rare_calls(db: &TestDb, sql: &[&str]) -> Vec<Value> {
    let mut conn = db.superuser();
    execute(&mut conn, "BEGIN; SET LOCAL track_functions = 'all'");
    for statement in sql {
        execute(&mut conn, statement);
    }
    let calls = rows(
        &mut conn,
        &format!(
            "SELECT funcname AS name, calls FROM pg_stat_xact_user_functions WHERE funcname IN ({RARE}) AND calls > 0 ORDER BY 1"
        ),
    );
    execute(&mut conn, "COMMIT");
    calls
}

/// A table of every kind that applications have, captured at a level; each row has a document.
fn documents(columns: &str, definition: Definition) -> TestDb {
    let db = TestDb::new();
    db.create(&format!(
        "CREATE TABLE docs (id bigint PRIMARY KEY, note text, secret text, touched timestamptz, at timestamptz, {columns});
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := clock_timestamp(); RETURN NEW; END $$;
         CREATE TRIGGER touch BEFORE UPDATE ON docs FOR EACH ROW EXECUTE FUNCTION touch()"
    ));
    db.capture("docs", definition);
    db
}

#[test]
fn c43_no_row_is_made_column_by_column() {
    let plain = Definition::new("Doc", &["id"]).store_changed_from();
    let insert = format!(
        "INSERT INTO docs (id, note, secret, doc) SELECT n, 'a', 's', d.doc FROM generate_series(1, {ROWS}) n, d"
    );
    for (columns, doc, definition) in [
        ("doc jsonb", "jsonb '{\"a\": 1}'", plain),
        ("doc json", "json '{\"a\": 1}'", plain),
        ("doc json", "json '{\"a\": 1}'", plain.mask(&["secret"])),
        ("doc jsonb[]", "ARRAY[jsonb '1']", plain),
        ("doc jsonb[]", "ARRAY[jsonb '1']", plain.exclude(&["doc"])),
        ("doc text", "repeat('x', 1000)", plain.on_change(&["doc"])),
        ("doc text", "'x'", plain.exclude(&["doc"]).mask(&["secret"])),
    ] {
        for level in [Level::Row, Level::Statement] {
            let db = documents(columns, definition.level(level));
            execute(
                &mut db.owner(),
                &format!("CREATE VIEW d AS SELECT {doc} AS doc"),
            );
            let upsert = format!("{insert} ON CONFLICT (id) DO UPDATE SET note = docs.note || '!'");
            for sql in [
                &[&*insert][..],
                &["UPDATE docs SET note = 'b'"],
                &["UPDATE docs SET secret = 't', doc = d.doc FROM d"],
                &[
                    "SELECT FROM docs FOR UPDATE",
                    "UPDATE docs SET note = 'c'",
                    "UPDATE docs SET note = 'd'",
                    "SAVEPOINT one",
                    "UPDATE docs SET note = 'e'",
                ],
                &[&upsert, "UPDATE docs SET note = note || '?'"],
                &["DELETE FROM docs"],
            ] {
                let calls = rare_calls(&db, sql);
                assert_eq!(calls, [] as [Value; 0], "{columns} {level:?} {sql:?}");
            }
            // A column that is dropped later is named nowhere.
            execute(&mut db.owner(), "ALTER TABLE docs DROP COLUMN at");
            let sql = [
                &*insert,
                "UPDATE docs SET note = 'b', doc = doc",
                "DELETE FROM docs",
            ];
            assert_eq!(
                rare_calls(&db, &sql),
                [] as [Value; 0],
                "{columns} {level:?}"
            );
        }
    }
}

/// The control: what can't be made otherwise is counted.
#[test]
fn c43_a_row_that_jsonb_can_not_hold_is_made_column_by_column() {
    let db = documents("doc json", Definition::new("Doc", &["id"]));
    let calls = rare_calls(
        &db,
        &[r#"INSERT INTO docs (id, doc) VALUES (1, '{"a": "\u0000"}'), (2, '{}')"#],
    );
    let made = |name: &str| json!({"name": name, "calls": 1});
    assert_eq!(
        calls,
        [
            made("threadline_image_sql_v1"),
            made("threadline_images_query_v1")
        ]
    );
}
