use threadline_tests::{TestDb, execute, rows};

use super::log::lines;

#[test]
fn c03_operations_read_as_words() {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'); UPDATE items SET name = 'b'; DELETE FROM items; TRUNCATE items",
    );
    assert_eq!(
        lines(&db, "items"),
        ["insert 1", "update 1", "delete 1", "truncate"]
    );
}

/// Both would be paid for by every write, and a foreign key makes SERIALIZABLE writers fail.
#[test]
fn c03_changes_have_no_check_and_no_foreign_key() {
    let db = TestDb::new();
    let constraints = rows(
        &mut db.owner(),
        "SELECT contype::text AS type FROM pg_constraint
         WHERE 'audit_changes'::regclass IN (conrelid, confrelid) AND contype <> 'n'",
    );
    assert_eq!(constraints, [serde_json::json!({"type": "p"})]);
}
