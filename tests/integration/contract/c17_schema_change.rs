//! C17: capture beside a schema that changes.

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::{Definition, Level, Snapshot, prelude::*};
use threadline_tests::{TestDb, execute, rows, try_execute};

const BOTH: [&str; 2] = ["`threadline generate`", "migration"];

/// The write is refused with an error that says all of this, and leaves nothing in the table.
fn assert_refused(db: &TestDb, sql: &str, says: &[&str]) {
    let error = try_execute(&mut db.app(), sql).unwrap_err();
    for part in says.iter().chain(&BOTH) {
        assert!(error.contains(part), "{error}\ndoesn't say {part}");
    }
}

fn images(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT op, table_name, table_pk, data_after, changed_from FROM audit_changes ORDER BY id",
    )
}

fn last(db: &TestDb) -> Value {
    images(db).pop().unwrap()
}

#[test]
fn c17_a_column_added_later_appears_in_the_next_change() {
    let db = TestDb::new();
    db.audited("t", "CREATE TABLE t (id int PRIMARY KEY, a text)");
    execute(&mut db.app(), "INSERT INTO t VALUES (1, 'a')");
    execute(
        &mut db.owner(),
        "ALTER TABLE t ADD COLUMN b text DEFAULT 'b'",
    );
    execute(&mut db.app(), "UPDATE t SET a = 'x'");
    assert_eq!(
        last(&db)["data_after"],
        json!({"id": 1, "a": "x", "b": "b"})
    );
    execute(&mut db.app(), "UPDATE t SET b = 'y'");
    assert_eq!(last(&db)["changed_from"], json!({"b": "b"}));
}

/// The columns that changed are found in the rows there, by their names when the table was captured.
#[test]
fn c17_a_column_is_added_beside_a_document() {
    for level in [Level::Row, Level::Statement] {
        for (doc, definition) in [
            ("json", Definition::new("T", &["id"])),
            ("jsonb[]", Definition::new("T", &["id"]).on_change(&["a"])),
        ] {
            let db = TestDb::new();
            db.create(&format!(
                "CREATE TABLE t (id int PRIMARY KEY, a text, doc {doc}, gone int)"
            ));
            db.capture("t", definition.store_changed_from().level(level));
            let mut app = db.app();
            execute(&mut app, "INSERT INTO t VALUES (1, 'a'), (2, 'a')");
            execute(
                &mut db.owner(),
                "ALTER TABLE t ADD COLUMN b text DEFAULT 'b', ADD COLUMN late json",
            );
            for (sql, changed) in [
                ("UPDATE t SET a = 'x', b = 'y'", json!(["a", "b"])),
                ("UPDATE t SET b = 'z'", json!(["b"])),
                ("UPDATE t SET late = '[1]', b = 'a'", json!(["b", "late"])),
                ("UPDATE t SET late = '[ 1]'", json!(["late"])),
            ] {
                execute(&mut app, sql);
                let fields = rows(
                    &mut db.auditor(),
                    "SELECT changed_fields AS f, changed_from AS o FROM audit_changes ORDER BY id DESC LIMIT 2",
                );
                for change in fields {
                    assert_eq!(change["f"], changed, "{doc} {level:?} {sql}");
                    let before: Vec<_> = change["o"].as_object().unwrap().keys().cloned().collect();
                    assert_eq!(json!(before), changed, "{doc} {level:?} {sql}");
                }
            }
            execute(
                &mut db.owner(),
                "ALTER TABLE t DROP COLUMN gone, DROP COLUMN doc",
            );
            execute(
                &mut app,
                "UPDATE t SET a = 'last' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (3, 'a')",
            );
            threadline_tests::log::assert_newest_images_equal_table(&db, "t");
            let newest = last(&db);
            assert_eq!(
                newest["data_after"],
                json!({"id": 3, "a": "a", "b": "b", "late": null})
            );
        }
    }
}

#[test]
fn c17_dropped_columns_do_no_harm() {
    let db = TestDb::new();
    db.create("CREATE TABLE t (id int PRIMARY KEY, plain text, masked text, excluded text, except_column text, ignored text, kept text)");
    db.capture(
        "t",
        Definition::new("T", &["id"])
            .store_changed_from()
            .mask(&["masked"])
            .exclude(&["excluded"])
            .except_columns(&["except_column"])
            .ignore_only(&["ignored"]),
    );
    let mut app = db.app();
    for column in ["plain", "masked", "excluded", "except_column", "ignored"] {
        execute(
            &mut db.owner(),
            &format!("ALTER TABLE t DROP COLUMN {column}"),
        );
        execute(&mut app, "INSERT INTO t (id, kept) VALUES (1, 'a')");
        let image = last(&db)["data_after"].take();
        assert_eq!(image["kept"], "a", "without {column}");
        assert!(image.get(column).is_none(), "{image}");
        execute(&mut app, "UPDATE t SET kept = 'b'");
        assert_eq!(
            last(&db)["changed_from"],
            json!({"kept": "a"}),
            "without {column}"
        );
        execute(&mut app, "DELETE FROM t");
        assert_eq!(last(&db)["op"], "delete", "without {column}");
    }
}

#[test]
fn c17_a_renamed_table_is_refused_until_its_migration() {
    let db = TestDb::new();
    db.audited("people", "CREATE TABLE people (id int PRIMARY KEY)");
    execute(&mut db.app(), "INSERT INTO people VALUES (1)");
    db.create("ALTER TABLE people RENAME TO persons");
    assert_refused(
        &db,
        "INSERT INTO persons VALUES (2)",
        &[
            "table public.persons",
            "public.people",
            r#"formerly = "people""#,
        ],
    );
    assert_refused(&db, "TRUNCATE persons", &["table public.persons"]);
    db.capture(
        "persons",
        Definition::new("Person", &["id"]).formerly(&["people"]),
    );
    execute(&mut db.app(), "DELETE FROM persons");
    assert_eq!(
        rows(
            &mut db.auditor(),
            "SELECT op, table_name FROM threadline_history('persons', '{\"id\": 1}') ORDER BY id"
        ),
        [
            json!({"op": "insert", "table_name": "people"}),
            json!({"op": "delete", "table_name": "persons"})
        ]
    );
    assert_eq!(
        rows(
            &mut db.auditor(),
            "SELECT table_name, former_names FROM audit_tables"
        ),
        [json!({"table_name": "persons", "former_names": ["people"]})]
    );
}

#[test]
fn c17_a_table_in_another_schema_is_refused_until_its_migration() {
    let db = TestDb::new();
    db.audited(
        "t",
        "CREATE SCHEMA other; CREATE TABLE t (id int PRIMARY KEY)",
    );
    db.create("ALTER TABLE t SET SCHEMA other");
    assert_refused(
        &db,
        "INSERT INTO other.t VALUES (1)",
        &["table other.t", "public.t"],
    );
    db.capture("other.t", Definition::new("T", &["id"]));
    execute(&mut db.app(), "INSERT INTO other.t VALUES (1)");
    assert_eq!(last(&db)["table_name"], "t");
}

#[test]
fn c17_a_renamed_partition_is_captured_on() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE parted (id int PRIMARY KEY, a text, b int GENERATED ALWAYS AS (id * 2) STORED) PARTITION BY RANGE (id);
         CREATE TABLE leaf PARTITION OF parted FOR VALUES FROM (0) TO (10)",
    );
    db.capture("parted", Definition::new("Parted", &["id"]).mask(&["a"]));
    db.create("ALTER TABLE leaf RENAME TO leaf_2");
    execute(&mut db.app(), "INSERT INTO leaf_2 VALUES (1, 'x')");
    let change = last(&db);
    assert_eq!(change["table_name"], "parted");
    assert_eq!(
        change["data_after"],
        json!({"id": 1, "a": "[REDACTED]", "b": 2})
    );
    db.create("ALTER TABLE parted RENAME COLUMN a TO c");
    assert_refused(
        &db,
        "INSERT INTO leaf_2 VALUES (2, 'x')",
        &["public.parted", "redacted column a", "unknown column c"],
    );
    db.create("ALTER TABLE parted RENAME COLUMN c TO a; ALTER TABLE parted RENAME TO renamed");
    assert_refused(
        &db,
        "INSERT INTO leaf_2 VALUES (2, 'x')",
        &["table public.leaf_2", "public.parted"],
    );
}

#[test]
fn c17_a_renamed_redacted_column_is_refused_until_its_migration() {
    for definition in [
        Definition::new("T", &["id"]).mask(&["ssn"]),
        Definition::new("T", &["id"]).exclude(&["ssn"]),
    ] {
        let db = TestDb::new();
        db.create("CREATE TABLE t (id int PRIMARY KEY, ssn text, other text)");
        db.capture("t", definition);
        execute(&mut db.app(), "INSERT INTO t VALUES (1, 's', 'o')");
        db.create("ALTER TABLE t RENAME ssn TO tax_id");
        for sql in [
            "INSERT INTO t VALUES (2, 's', 'o')",
            "UPDATE t SET other = 'p'",
            "DELETE FROM t",
            "INSERT INTO t VALUES (2, repeat('s', 2000000), 'o')",
        ] {
            assert_refused(
                &db,
                sql,
                &[
                    "table public.t",
                    "redacted column ssn",
                    "unknown column tax_id",
                ],
            );
        }
        assert_eq!(images(&db).len(), 1);
        db.capture(
            "t",
            Definition::new("T", &["id"])
                .mask(&["tax_id"])
                .columns_formerly(&[("tax_id", "ssn")]),
        );
        execute(&mut db.app(), "UPDATE t SET tax_id = 'r'");
        assert_eq!(
            last(&db)["data_after"],
            json!({"id": 1, "tax_id": "[REDACTED]", "other": "o"})
        );
    }
}

#[test]
fn c17_a_dropped_key_column_is_refused_until_its_migration() {
    let db = TestDb::new();
    db.audited("t", "CREATE TABLE t (id int PRIMARY KEY, code text)");
    execute(&mut db.app(), "INSERT INTO t VALUES (1, 'a')");
    db.create("ALTER TABLE t DROP COLUMN id; ALTER TABLE t ADD PRIMARY KEY (code)");
    for sql in [
        "INSERT INTO t VALUES ('b')",
        "UPDATE t SET code = 'b'",
        "DELETE FROM t",
    ] {
        assert_refused(&db, sql, &["table public.t", "key columns {id}"]);
    }
    assert_eq!(images(&db).len(), 1);
    db.capture("t", Definition::new("T", &["code"]));
    execute(&mut db.app(), "DELETE FROM t");
    assert_eq!(last(&db)["table_pk"], json!({"code": "a"}));
}

#[test]
fn c17_a_stored_generated_column_is_captured_as_computed() {
    let db = TestDb::new();
    db.audited(
        "t",
        "CREATE TABLE t (id int PRIMARY KEY, net int, gross int GENERATED ALWAYS AS (net * 119 / 100) STORED)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO t VALUES (1, 100); UPDATE t SET net = 200",
    );
    let all = images(&db);
    assert_eq!(
        all[0]["data_after"],
        json!({"id": 1, "net": 100, "gross": 119})
    );
    assert_eq!(
        all[1]["data_after"],
        json!({"id": 1, "net": 200, "gross": 238})
    );
    assert_eq!(all[1]["changed_from"], json!({"net": 100, "gross": 119}));
}

diesel::table! {
    members (club, number) { club -> Integer, number -> Integer, name -> Text, tax_id -> Nullable<Text>, }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = members, primary_key(club, number))]
#[audited(formerly = "guests")]
struct Member {
    #[audited(formerly = "place")]
    club: i32,
    #[audited(formerly = "id")]
    number: i32,
    #[audited(formerly = "title")]
    name: String,
    #[audited(mask, formerly = "ssn")]
    tax_id: Option<String>,
}

#[test]
fn c17_a_renamed_key_column_is_refused_and_history_carries_across() {
    let db = TestDb::new();
    db.create("CREATE TABLE guests (place int, id int, title text NOT NULL, ssn text, PRIMARY KEY (place, id))");
    db.capture(
        "guests",
        Definition::new("Guest", &["place", "id"]).mask(&["ssn"]),
    );
    execute(
        &mut db.app(),
        "INSERT INTO guests VALUES (1, 2, 'Ann', 's'), (1, 3, 'Bob', 's')",
    );
    db.create("ALTER TABLE guests RENAME id TO number");
    for sql in [
        "INSERT INTO guests VALUES (1, 4, 'Cy', 's')",
        "UPDATE guests SET title = 'Cy'",
        "DELETE FROM guests",
    ] {
        assert_refused(
            &db,
            sql,
            &[
                "table public.guests",
                "key columns {place,id}",
                r#"formerly = "old name""#,
            ],
        );
    }
    db.create(
        "ALTER TABLE guests RENAME place TO club; ALTER TABLE guests RENAME title TO name;
         ALTER TABLE guests RENAME ssn TO tax_id; ALTER TABLE guests RENAME TO members",
    );
    db.capture("members", Member::DEFINITION);
    execute(
        &mut db.app(),
        "UPDATE members SET name = 'Anna' WHERE number = 2; DELETE FROM members",
    );

    let mut auditor = db.auditor();
    let history = Member::history((1, 2)).load(&mut auditor).unwrap();
    let member = |number, name: &str| Member {
        club: 1,
        number,
        name: name.into(),
        tax_id: None,
    };
    assert_eq!(history.len(), 3);
    assert_eq!(history[2].snapshot, Snapshot::After(member(2, "Ann")));
    assert_eq!(history[1].snapshot, Snapshot::After(member(2, "Anna")));
    assert_eq!(history[0].snapshot, Snapshot::Before(member(2, "Anna")));
    for change in &history {
        assert_eq!(change.redacted, ["tax_id"]);
    }
    // Nothing was written between the rename and the delete: the row before is known under the old names only.
    let history = Member::history((1, 3)).load(&mut auditor).unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].snapshot, Snapshot::Before(member(3, "Bob")));
}
