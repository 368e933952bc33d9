//! Values of the application that look like what capture leaves in place of a value.

use threadline::{
    Change, DiffOptions, FieldValue, change, prelude::*, revert_transaction_plan, where_changed,
};

use super::*;

on_both_kinds!(
    at_row_level,
    at_statement_level,
    in_columns_that_are_stored_when_they_change,
    beside_one_that_is_left_out,
    rows_above_the_limit,
    alone,
);

diesel::table! {
    docs (id) {
        id -> BigInt,
        doc -> Nullable<Jsonb>,
    }
}

#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = docs)]
struct Doc {
    id: i64,
    doc: Option<Value>,
}

const CREATE: &str = r#"
    CREATE TYPE parcel AS ("$threadline" text, value jsonb);
    CREATE DOMAIN form AS jsonb;
    CREATE TABLE docs (id bigint PRIMARY KEY, doc jsonb, text json, boxed parcel, form form, list jsonb[], boxes parcel[], note text)"#;

fn lookalikes() -> [Value; 6] {
    [
        json!({"$threadline": "omitted"}),
        json!({"$threadline": "omitted", "bytes": 1_000_001, "sha256": "00"}),
        json!({"$threadline": "value", "value": 1}),
        json!({"$threadline": "value", "value": {"$threadline": "omitted"}}),
        json!({"$threadline": null}),
        json!({"$threadline": {"$threadline": "omitted"}}),
    ]
}

fn definition() -> Definition {
    Definition::new("Doc", &["id"]).store_changed_from()
}

/// Writes the value in every way.
fn life(db: &TestDb, id: usize, value: &Value) {
    let mut app = db.app();
    let moved = id + 100;
    let boxed = value["$threadline"].as_str().unwrap_or("omitted");
    let list = format!(
        "ARRAY['{value}', '[{value}]']::jsonb[], ARRAY[ROW('{boxed}', '{value}')]::public.parcel[]"
    );
    for sql in [
        format!(
            "INSERT INTO docs VALUES ({id}, '{value}', jsonb '{value}', ROW('{boxed}', '{value}')::public.parcel, '{value}', {list}, 'a')"
        ),
        format!(
            "UPDATE docs SET doc = '1', text = '[]', boxed = NULL, form = NULL WHERE id = {id}"
        ),
        format!("UPDATE docs SET doc = '{value}', boxed = ROW('value', '{value}') WHERE id = {id}"),
        format!("UPDATE docs SET note = 'b' WHERE id = {id}"),
        format!("UPDATE docs SET id = {moved} WHERE id = {id}"),
        format!(
            "UPDATE docs SET id = {id}, text = jsonb '{value}', form = '{value}' WHERE id = {moved}"
        ),
    ] {
        execute(&mut app, &sql);
        assert_reads_as_the_table(db);
    }
    execute(&mut app, &format!("DELETE FROM docs WHERE id = {id}"));
    assert_reads_as_the_table(db);
    execute(
        &mut app,
        &format!(
            "INSERT INTO docs VALUES ({id}, '{value}'), ({moved}, '{value}'); UPDATE docs SET note = id"
        ),
    );
    assert_reads_as_the_table(db);
}

fn assert_reads_as_the_table(db: &TestDb) {
    let mut owner = db.owner();
    let table = rows(&mut owner, "SELECT t::text FROM docs t ORDER BY id");
    assert_eq!(
        rows(
            &mut owner,
            "SELECT t::text FROM threadline_moment(NULL::docs, 'docs', now()) t ORDER BY id"
        ),
        table
    );
    assert_eq!(
        rows(
            &mut owner,
            "SELECT d.row_image::text AS t FROM docs,
                threadline_as_of('docs', jsonb_build_object('id', docs.id), now()) a,
                threadline_decode(NULL::docs, 'docs', threadline_whole(a.change), '{}') d
             WHERE d.problem IS NULL AND d.omitted = '{}' ORDER BY id"
        ),
        table
    );
}

fn read_as_values(db: &TestDb, definition: Definition) {
    db.create(CREATE);
    db.capture("docs", definition);
    for (id, value) in lookalikes().iter().enumerate() {
        life(db, id, value);
    }
    for (id, value) in (0_i64..).zip(lookalikes()) {
        let mut auditor = db.auditor();
        let came: Vec<Change<Doc>> = Doc::changes()
            .filter(where_changed(docs::doc).to(value.clone()))
            .order(change::id)
            .load(&mut auditor)
            .unwrap();
        // Two inserts, the update that puts it back, both halves of two moves, and two inserts again.
        let ids: Vec<i64> = came
            .iter()
            .map(|change| change.after().unwrap().id)
            .collect();
        assert_eq!(ids, [id, id, id + 100, id, id, id + 100], "{value}");
        for change in &came {
            assert_eq!(change.after().unwrap().doc.as_ref(), Some(&value));
            assert_eq!(change.omitted, [""; 0]);
            let diff = change.diff(DiffOptions::new().expand_insert_fields());
            let field = diff.field_of(docs::doc).unwrap();
            let recorded = field.after.recorded().map(|value| value.to_value());
            assert_eq!(recorded.as_ref(), Some(&value));
        }
        let left: Vec<Change<Doc>> = Doc::history(id)
            .order(change::id)
            .load(&mut auditor)
            .unwrap();
        let diff = left[1].diff(DiffOptions::new());
        let before = &diff.field_of(docs::doc).unwrap().before;
        assert_eq!(
            before.recorded().map(|value| value.to_value()),
            Some(value.clone())
        );
    }
    reverts(db);
}

/// A value is put back, and found where it is still what was left.
fn reverts(db: &TestDb) {
    let before = rows(&mut db.owner(), "SELECT t::text FROM docs t ORDER BY id");
    execute(
        &mut db.app(),
        "UPDATE docs SET doc = jsonb_build_object('$threadline', 'omitted', 'was', doc)",
    );
    let newest = value(
        &mut db.auditor(),
        "SELECT transaction_id FROM audit_changes ORDER BY id DESC LIMIT 1",
    );
    let newest = newest.as_str().unwrap().parse().unwrap();
    let mut reverter = db.reverter();
    let plan = revert_transaction_plan(newest)
        .get_result(&mut reverter)
        .unwrap();
    assert_eq!(plan.conflicts(), []);
    let context = threadline::AuditContext::new(threadline::ActorRef::admin("ops").unwrap());
    plan.apply(&mut reverter, &context).unwrap();
    assert_eq!(
        rows(&mut db.owner(), "SELECT t::text FROM docs t ORDER BY id"),
        before
    );
}

/// In a table that needs no other care.
fn alone(db: &TestDb) {
    for level in [Level::Row, Level::Statement] {
        execute(&mut db.owner(), "DROP TABLE IF EXISTS docs");
        db.create("CREATE TABLE docs (id bigint PRIMARY KEY, doc jsonb)");
        db.capture("docs", definition().level(level));
        for (id, value) in lookalikes().iter().enumerate() {
            for sql in [
                format!("INSERT INTO docs VALUES ({id}, '{value}'), ({id} + 100, '{value}')"),
                "UPDATE docs SET doc = '1'".to_owned(),
                format!("UPDATE docs SET doc = '{value}'"),
                format!("UPDATE docs SET id = 200, doc = '1' WHERE id = {id}"),
                "DELETE FROM docs WHERE id = 200".to_owned(),
            ] {
                execute(&mut db.app(), &sql);
                assert_reads_as_the_table(db);
            }
            // The values before of both rows of the UPDATE, and of the one that moved.
            let before = rows(
                &mut db.auditor(),
                "SELECT changed_from -> 'doc' ->> '$threadline' AS mark FROM audit_changes c JOIN audit_tables t ON t.id = c.table_id
                 WHERE t.table_name = 'docs' AND changed_from -> 'doc' <> '1' ORDER BY c.id DESC LIMIT 3",
            );
            assert_eq!(before, vec![json!({"mark": "value"}); 3]);
        }
        reverts(db);
    }
}

/// A row whose values are all below the limit, and which isn't.
fn rows_above_the_limit(db: &TestDb) {
    db.create(
        "CREATE TABLE wide (id bigint PRIMARY KEY, a text, b text);
         CREATE TABLE docs (id bigint PRIMARY KEY, a text, b text)",
    );
    db.capture("wide", definition());
    db.capture("docs", definition().level(Level::Statement));
    for table in ["wide", "docs"] {
        let mut app = db.app();
        for sql in [
            "INSERT INTO {} VALUES (1, repeat('a', 600000), repeat('b', 600000))",
            "UPDATE {} SET a = repeat('c', 600000)",
            "UPDATE {} SET id = 2",
            "DELETE FROM {}",
        ] {
            execute(&mut app, &sql.replace("{}", table));
        }
        assert_eq!(
            rows(
                &mut db.auditor(),
                &format!(
                    "SELECT op, table_pk ->> 'id' AS id, left(data_after ->> 'a', 1) AS a, length(data_after ->> 'b') AS b
                     FROM audit_changes WHERE table_name = '{table}' ORDER BY id"
                )
            ),
            [
                json!({"op": "insert", "id": "1", "a": "a", "b": 600_000}),
                json!({"op": "update", "id": "1", "a": "c", "b": 600_000}),
                json!({"op": "delete", "id": "1", "a": null, "b": null}),
                json!({"op": "insert", "id": "2", "a": "c", "b": 600_000}),
                json!({"op": "delete", "id": "2", "a": null, "b": null}),
            ]
        );
    }
}

fn at_row_level(db: &TestDb) {
    read_as_values(db, definition());
}

fn at_statement_level(db: &TestDb) {
    read_as_values(db, definition().level(Level::Statement));
}

fn in_columns_that_are_stored_when_they_change(db: &TestDb) {
    read_as_values(db, definition().on_change(&["doc", "boxed"]));
}

fn beside_one_that_is_left_out(db: &TestDb) {
    for level in [Level::Row, Level::Statement] {
        execute(
            &mut db.owner(),
            "DROP TABLE IF EXISTS docs; DROP TYPE IF EXISTS parcel; DROP DOMAIN IF EXISTS form",
        );
        db.create(CREATE);
        db.capture("docs", definition().level(level));
        execute(
            &mut db.app(),
            r#"INSERT INTO docs (id, doc, note) VALUES (1, '{"$threadline": "omitted"}', repeat('x', 1000001))"#,
        );
        let change: Change<Doc> = Doc::changes()
            .order(change::id.desc())
            .first(&mut db.auditor())
            .unwrap();
        assert_eq!(change.omitted, ["note"]);
        let diff = change.diff(DiffOptions::new().expand_insert_fields());
        assert!(matches!(
            diff.field("note").unwrap().after,
            FieldValue::TooLarge {
                bytes: 1_000_001,
                ..
            }
        ));
        assert_eq!(
            diff.field_of(docs::doc)
                .unwrap()
                .after
                .recorded()
                .unwrap()
                .to_value(),
            json!({"$threadline": "omitted"})
        );
    }
}
