//! Rows as of a moment are what history says that they were.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::{Audited, AuditedDsl, Definition, Level, QueryAsOf, Truncate, capture::Storage};
use threadline_tests::{TestDb, execute, rows, value};

use super::{clock, let_the_application_read_the_log};

diesel::table! { people (id) { id -> BigInt, name -> Text, ssn -> Nullable<Text>, pin -> Nullable<Integer>, secret -> Text, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = people)]
#[audited(store_changed_from, mask_placeholder = "***")]
struct Person {
    id: i64,
    name: String,
    #[audited(mask)]
    ssn: Option<String>,
    #[audited(exclude)]
    pin: Option<i32>,
    #[audited(mask)]
    secret: String,
}

diesel::table! { badges (id) { id -> BigInt, code -> Integer, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = badges)]
struct Badge {
    id: i64,
    #[audited(exclude, fill = 0)]
    code: i32,
}

/// A table as of a moment as JSON, as the auditor, and as one who may read the table too.
fn table_at(db: &TestDb, table: &str, moment: DateTime<Utc>) -> Vec<Value> {
    let_the_application_read_the_log(db);
    let sql = format!(
        "SELECT * FROM threadline_moment(NULL::{table}, '{table}', '{}')",
        moment.to_rfc3339()
    );
    let sorted = |mut rows: Vec<Value>| {
        rows.sort_by_key(ToString::to_string);
        rows
    };
    let by_log = sorted(rows(&mut db.auditor(), &sql));
    assert_eq!(sorted(rows(&mut db.app(), &sql)), by_log);
    by_log
}

#[test]
fn redacted_columns_are_what_history_says() {
    let db = TestDb::new();
    db.create("CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, ssn text, pin integer, secret text NOT NULL)");
    db.capture("people", Person::DEFINITION);
    execute(
        &mut db.app(),
        "INSERT INTO people VALUES (1, 'ada', '123-45', 1234, 'clear'), (2, 'bob', NULL, NULL, 'clear')",
    );
    let moment = clock(&mut db.app());
    execute(
        &mut db.app(),
        "UPDATE people SET name = 'changed' WHERE id = 1",
    );
    let_the_application_read_the_log(&db);
    for mut conn in [db.auditor(), db.app()] {
        for moment in [moment, clock(&mut db.app())] {
            let all = Person::all_as_of(moment)
                .order(people::id)
                .load(&mut conn)
                .unwrap();
            let history = [1, 2].map(|id| {
                Person::as_of(id, moment)
                    .get_result(&mut conn)
                    .unwrap()
                    .into_row()
                    .unwrap()
            });
            assert_eq!(all, history);
            assert_eq!(
                (all[0].ssn.as_deref(), all[0].pin, all[0].secret.as_str()),
                (None, None, "***")
            );
        }
    }
}

#[test]
fn a_models_fill_is_for_what_the_log_has_no_value_for() {
    let db = TestDb::new();
    db.create("CREATE TABLE badges (id bigint PRIMARY KEY, code integer NOT NULL)");
    db.capture("badges", Badge::DEFINITION);
    execute(&mut db.app(), "INSERT INTO badges VALUES (1, 77)");
    let moment = clock(&mut db.app());
    let badge = Badge { id: 1, code: 0 };
    assert_eq!(
        Badge::all_as_of(moment).load(&mut db.auditor()).unwrap(),
        [badge]
    );
}

#[test]
fn statement_level_and_partitioned_tables() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE bulk (id bigint PRIMARY KEY, size integer);
         CREATE TABLE parted (id bigint PRIMARY KEY, size integer) PARTITION BY RANGE (id);
         CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (10);
         CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (10) TO (100)",
    );
    let definition = Definition::new("Model", &["id"]);
    db.capture("bulk", definition.level(Level::Statement));
    db.capture("parted", definition);
    for table in ["bulk", "parted"] {
        let mut app = db.app();
        execute(
            &mut app,
            &format!("INSERT INTO {table} SELECT n, n FROM generate_series(1, 5) n"),
        );
        let moment = clock(&mut app);
        let then = rows(&mut app, &format!("SELECT * FROM {table} ORDER BY id"));
        execute(
            &mut app,
            &format!(
                "UPDATE {table} SET id = id + 9 WHERE id > 2; UPDATE {table} SET size = 0; DELETE FROM {table} WHERE id = 1"
            ),
        );
        assert_eq!(table_at(&db, table, moment), then);
        let now = rows(
            &mut app,
            &format!("SELECT * FROM {table} ORDER BY id::text"),
        );
        assert_eq!(table_at(&db, table, clock(&mut app)).len(), now.len());
    }
}

#[test]
fn truncate_in_each_of_its_forms() {
    let db = TestDb::new();
    for (table, truncate) in [("marked", Truncate::Marker), ("listed", Truncate::Rows)] {
        db.create(&format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, n integer)"
        ));
        db.capture(table, Definition::new("Model", &["id"]).truncate(truncate));
        let mut app = db.app();
        execute(
            &mut app,
            &format!("INSERT INTO {table} VALUES (1, 1), (2, 2)"),
        );
        let before = clock(&mut app);
        execute(&mut app, &format!("TRUNCATE {table}"));
        let empty = clock(&mut app);
        execute(&mut app, &format!("INSERT INTO {table} VALUES (2, 3)"));
        let after = clock(&mut app);
        // Not committed, it has not happened.
        execute(&mut app, &format!("BEGIN; TRUNCATE {table}; ROLLBACK"));
        assert_eq!(
            table_at(&db, table, before),
            [json!({"id": 1, "n": 1}), json!({"id": 2, "n": 2})]
        );
        assert_eq!(table_at(&db, table, empty), [Value::Null; 0]);
        assert_eq!(table_at(&db, table, after), [json!({"id": 2, "n": 3})]);
    }
}

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

/// A row has one history through a rename of its key.
#[test]
fn key_columns_that_were_renamed() {
    let db = TestDb::new();
    db.create("CREATE TABLE things (no bigint PRIMARY KEY, label text)");
    db.capture("things", Definition::new("Thing", &["no"]));
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO things VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    );
    let before = clock(&mut app);
    db.create("ALTER TABLE things RENAME no TO id");
    db.capture(
        "things",
        Definition::new("Thing", &["id"]).columns_formerly(&[("id", "no")]),
    );
    execute(
        &mut app,
        "UPDATE things SET label = 'ONE' WHERE id = 1; DELETE FROM things WHERE id = 3",
    );
    let after = clock(&mut app);
    execute(&mut app, "UPDATE things SET label = 'late'");
    let thing = |id, label| json!({"id": id, "label": label});
    assert_eq!(
        table_at(&db, "things", before),
        [thing(1, "one"), thing(2, "two"), thing(3, "three")]
    );
    assert_eq!(
        table_at(&db, "things", after),
        [thing(1, "ONE"), thing(2, "two")]
    );
}

/// Keys of every kind are told apart in both ways of reading.
#[test]
fn keys_of_several_columns_and_types() {
    let db = TestDb::new();
    db.create(
        "CREATE TYPE mood AS ENUM ('glad', 'sad');
         CREATE TABLE mixed (a text, b uuid, c mood, d date, e smallint, f char(3), n integer, PRIMARY KEY (a, b, c, d, e, f))",
    );
    db.capture(
        "mixed",
        Definition::new("Mixed", &["a", "b", "c", "d", "e", "f"]),
    );
    let mut app = db.app();
    execute(
        &mut app,
        "SET datestyle = 'German';
         INSERT INTO mixed SELECT a, md5('b')::uuid, c, d, e, 'x', 1
         FROM unnest('{A,a,\"x \\\"y\"}'::text[]) a, unnest('{glad,sad}'::mood[]) c, unnest('{2024-02-29,infinity}'::date[]) d, unnest('{1,2}'::smallint[]) e",
    );
    let then = rows(
        &mut app,
        "SELECT to_jsonb(m) AS row FROM mixed m ORDER BY to_jsonb(m)::text",
    );
    let moment = clock(&mut app);
    execute(
        &mut app,
        "UPDATE mixed SET n = 2 WHERE a = 'a'; DELETE FROM mixed WHERE a = 'A' AND e = 1",
    );
    let mut found: Vec<_> = table_at(&db, "mixed", moment);
    let mut then: Vec<_> = then.into_iter().map(|row| row["row"].clone()).collect();
    found.sort_by_key(ToString::to_string);
    then.sort_by_key(ToString::to_string);
    assert_eq!(found, then);
}

/// What changes of these alone is not recorded, so that the table itself may be ahead of the moment.
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

/// Row level security would hide rows of the table; it does not apply to the log.
#[test]
fn a_table_with_row_level_security_is_read_from_the_log() {
    let db = TestDb::new();
    db.audited("rooms", "CREATE TABLE rooms (id bigint PRIMARY KEY)");
    execute(&mut db.app(), "INSERT INTO rooms VALUES (1), (2)");
    db.create(
        "ALTER TABLE rooms ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON rooms USING (id = 1)",
    );
    assert_eq!(value(&mut db.app(), "SELECT count(*) FROM rooms"), 1);
    assert_eq!(
        table_at(&db, "rooms", clock(&mut db.app())),
        [json!({"id": 1}), json!({"id": 2})]
    );
}

#[test]
fn two_keys_of_one_hash_are_two_rows() {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL)",
    );
    let collide = || {
        execute(
            &mut db.superuser(),
            "SET session_replication_role = replica; UPDATE audit_changes SET key_hash = (SELECT min(key_hash) FROM audit_changes)",
        );
    };
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a'), (2, 'b')");
    collide();
    let moment = clock(&mut db.app());
    let both = [json!({"id": 1, "name": "a"}), json!({"id": 2, "name": "b"})];
    assert_eq!(table_at(&db, "items", moment), both);
    // Both were changed since, so that each row before is looked for by its key. That has the hash of one of them.
    execute(&mut db.app(), "UPDATE items SET name = 'c'");
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica;
         UPDATE audit_changes SET key_hash = hashtextextended('{\"id\": \"1\"}', 0)",
    );
    let of_one_hash = format!(
        "SELECT * FROM threadline_moment(NULL::items, 'items', '{}') WHERE id = 1",
        moment.to_rfc3339()
    );
    for mut conn in [db.auditor(), db.app()] {
        assert_eq!(rows(&mut conn, &of_one_hash), both[..1]);
    }
}

#[test]
fn a_row_that_does_not_fit_the_table_any_more() {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, size text NOT NULL)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'large'), (2, '7')",
    );
    let moment = clock(&mut db.app());
    execute(&mut db.app(), "UPDATE items SET size = '1'");
    db.create("ALTER TABLE items ALTER size TYPE integer USING size::integer");
    let ask = format!(
        "SELECT count(*) FROM threadline_moment(NULL::items, 'items', '{}')",
        moment.to_rfc3339()
    );
    let said = threadline_tests::try_execute(&mut db.auditor(), &ask).unwrap_err();
    for part in ["table items", "column size", "large", "Model::as_of"] {
        assert!(said.contains(part), "{said}");
    }
}

/// Omitted values read as they do in history.
#[test]
fn values_too_large_for_the_log() {
    let db = TestDb::new();
    db.audited(
        "files",
        "CREATE TABLE files (id bigint PRIMARY KEY, body text NOT NULL)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO files VALUES (1, repeat('x', 2000000)), (2, 'small')",
    );
    let moment = clock(&mut db.app());
    execute(&mut db.app(), "UPDATE files SET body = 'smaller'");
    assert_eq!(
        table_at(&db, "files", moment),
        [
            json!({"id": 1, "body": "[OMITTED]"}),
            json!({"id": 2, "body": "small"})
        ]
    );
}

#[test]
fn another_storage_schema() {
    let db = TestDb::empty();
    let storage = Storage::new("audit_log").unwrap();
    let mut superuser = db.superuser();
    execute(
        &mut superuser,
        &threadline::capture::base::up_sql(&storage, None),
    );
    execute(
        &mut superuser,
        "CREATE SCHEMA shop; CREATE TABLE shop.items (id bigint PRIMARY KEY, name text NOT NULL)",
    );
    let plan = threadline::capture::CapturePlan::for_definition(
        "shop.items".parse().unwrap(),
        &Definition::new("Item", &["id"]),
    )
    .unwrap();
    execute(&mut superuser, &plan.up_sql(&storage));
    execute(&mut superuser, "INSERT INTO shop.items VALUES (1, 'then')");
    let moment = clock(&mut superuser);
    execute(
        &mut superuser,
        "UPDATE shop.items SET name = 'now'; SET search_path = public, audit_log",
    );
    diesel::table! { shop.items (id) { id -> BigInt, name -> Text, } }
    let query = items::table
        .filter(items::name.ne(""))
        .select(items::name)
        .as_of(moment);
    assert_eq!(query.load::<String>(&mut superuser).unwrap(), ["then"]);
    assert!(
        threadline::settled(moment)
            .get_result::<bool>(&mut superuser)
            .unwrap()
    );
}
