//! Tables of each kind, and a log in a schema of its own.

use super::*;

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
    wait_until_settled(&mut superuser, moment);
}
