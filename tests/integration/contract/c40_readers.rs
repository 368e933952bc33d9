//! C40: who reads the log, and that row level security of a table is not that of its history.

use diesel::prelude::*;
use threadline::{Definition, Level};
use threadline_tests::{TestDb, execute, try_execute, value};

use super::log::{assert_newest_images_equal_table, lines};

const LOG: [&str; 5] = [
    "audit_tables",
    "audit_transactions",
    "audit_changes",
    "audit_actions",
    "audit_commits",
];

const READS: [&str; 3] = [
    "SELECT * FROM threadline_history('items', '{\"id\": 1}')",
    "SELECT * FROM threadline_as_of('items', '{\"id\": 1}', now())",
    "SELECT * FROM threadline_changes('items')",
];

/// Tenants see their own rows, the owner of the table included.
fn tenants(level: Level) -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, tenant text, name text);
         ALTER TABLE items ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON items USING (tenant = current_setting('app.tenant', true))",
    );
    db.capture("items", Definition::new("Item", &["id"]).level(level));
    execute(
        &mut as_tenant(&db, "a"),
        "INSERT INTO items VALUES (1, 'a', 'n')",
    );
    db
}

fn as_tenant(db: &TestDb, tenant: &str) -> PgConnection {
    let mut app = db.app();
    execute(&mut app, &format!("SET app.tenant = '{tenant}'"));
    app
}

#[test]
fn c40_the_application_reads_nothing() {
    let db = tenants(Level::Row);
    let mut app = as_tenant(&db, "a");
    for table in LOG {
        let refused = try_execute(&mut app, &format!("SELECT FROM {table}")).unwrap_err();
        assert!(refused.contains("permission denied"), "{refused}");
    }
    for read in READS {
        let refused = try_execute(&mut app, read).unwrap_err();
        assert!(
            refused.contains("permission denied for function threadline_"),
            "{refused}"
        );
    }
}

#[test]
fn c40_a_reader_reads_and_does_not_write() {
    let db = tenants(Level::Row);
    let mut auditor = db.auditor();
    for read in READS {
        execute(&mut auditor, read);
    }
    for table in LOG {
        execute(&mut auditor, &format!("SELECT FROM {table}"));
        for write in [
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("INSERT INTO {table} DEFAULT VALUES"),
        ] {
            let refused = try_execute(&mut auditor, &write).unwrap_err();
            assert!(refused.contains("permission denied"), "{refused}");
        }
    }
}

#[test]
fn c40_row_level_security_of_a_table_does_not_apply_to_its_history() {
    let db = tenants(Level::Row);
    let mut auditor = db.auditor();
    execute(&mut auditor, "SET app.tenant = 'b'");
    let found = "SELECT data_after ->> 'name' FROM threadline_history('items', '{\"id\": 1}')";
    assert_eq!(value(&mut auditor, found), "n");
}

/// Rows are recorded for whoever may write them, and read again by the owner of the log where that is needed.
#[test]
fn c40_rows_under_row_level_security_are_captured() {
    for level in [Level::Row, Level::Statement] {
        let db = tenants(level);
        db.create(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 UPDATE items SET name = 'nested' WHERE id = 2; RETURN NULL; END $$;
             CREATE TRIGGER a AFTER UPDATE ON items FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION touch()",
        );
        let mut app = as_tenant(&db, "a");
        execute(
            &mut app,
            "INSERT INTO items VALUES (2, 'a', 'm'); UPDATE items SET name = 'outer'",
        );
        assert_newest_images_equal_table(&db, "items");
    }
}

/// With FORCE, the owner of the log is shown nothing: an error, never a row that reads as deleted.
#[test]
fn c40_a_row_that_the_owner_of_the_log_may_not_see_is_not_recorded_as_gone() {
    let db = tenants(Level::Row);
    db.create(
        "ALTER TABLE items FORCE ROW LEVEL SECURITY;
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE items SET name = 'nested' WHERE id = 1; RETURN NULL; END $$;
         CREATE TRIGGER \"!a\" AFTER UPDATE ON items FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION touch()",
    );
    let mut app = as_tenant(&db, "a");
    let refused = try_execute(&mut app, "UPDATE items SET name = 'outer'").unwrap_err();
    assert!(refused.contains("row-level security"), "{refused}");
    assert_eq!(lines(&db, "items"), ["insert 1"]);
}
