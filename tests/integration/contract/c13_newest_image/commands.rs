//! Commands that write in the middle of a statement.

use super::*;

/// Fails without the look for a version whose xmax is set, or for the key of a deleted row, in trigger.sql.
#[test]
fn c13_a_row_written_by_a_function_of_the_statement() {
    for statement in [
        "UPDATE items SET name = 'outer' WHERE id = 2 RETURNING touch(id)",
        "INSERT INTO items VALUES (4, 'outer') RETURNING touch(id)",
        "WITH outer_row AS (UPDATE items SET name = 'outer' WHERE id = 2 RETURNING id) SELECT touch(id) FROM outer_row",
        "DELETE FROM items WHERE id = 2 RETURNING insert_again(id)",
        "BEGIN; UPDATE items SET name = 'first'; DELETE FROM items WHERE id = 2 RETURNING insert_again(id); COMMIT",
        "BEGIN; INSERT INTO items VALUES (5, 'own'); DELETE FROM items WHERE id = 5 RETURNING insert_again(id); COMMIT",
        "BEGIN; INSERT INTO items VALUES (5), (6); UPDATE items SET name = 'own' WHERE id = 5; DELETE FROM items RETURNING insert_again(id); COMMIT",
        "DO $$ BEGIN INSERT INTO items VALUES (5); PERFORM touch(5); DELETE FROM items; PERFORM insert_again(5); END $$",
    ] {
        let db = TestDb::new();
        db.create(
            "CREATE TABLE items (id bigint PRIMARY KEY, name text);
             CREATE FUNCTION touch(item bigint) RETURNS void LANGUAGE sql AS $$
                 UPDATE items SET name = 'nested' WHERE id = item $$;
             CREATE FUNCTION insert_again(item bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO items VALUES (item, 'nested'); END $$",
        );
        db.capture("items", ITEM);
        execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a'), (2, 'b')");
        execute(&mut db.app(), statement);
        assert_newest_images_equal_table(&db, "items");
    }
}

/// A row that nothing superseded is not read again, and nothing is appended. Fails without the look at the command that
/// wrote the row under the key which another one left.
#[test]
fn c13_plain_statements_append_nothing() {
    for (statement, expected) in [
        (
            "DELETE FROM items WHERE id = 200",
            "delete 200, delete 201, delete 202",
        ),
        ("INSERT INTO items VALUES (1, 'a')", "insert 1"),
        (
            "INSERT INTO items VALUES (202, 'b') ON CONFLICT (id) DO UPDATE SET name = 'b'",
            "update 202",
        ),
        (
            "WITH gone AS (DELETE FROM items WHERE id = 202 RETURNING *) INSERT INTO items SELECT id, name FROM gone",
            "delete 202, insert 202",
        ),
        (
            "UPDATE items SET id = 3 WHERE id = 202",
            "delete 202, insert 3",
        ),
        (
            "UPDATE items SET id = id + 1 WHERE id >= 202",
            "delete 203, insert 204, delete 202, insert 203",
        ),
        (
            "SELECT FROM items FOR UPDATE; UPDATE items SET name = 'c' WHERE id = 202",
            "update 202",
        ),
    ] {
        let db = TestDb::new();
        db.audited(
            "items",
            "CREATE TABLE items (id bigint PRIMARY KEY, name text, parent_id bigint REFERENCES items ON DELETE CASCADE)",
        );
        let mut app = db.app();
        execute(
            &mut app,
            "INSERT INTO items VALUES (203, 'other', NULL), (200, 'parent', NULL), (201, 'child', 200), (202, 'grandchild', 201)",
        );
        execute(&mut app, &format!("BEGIN; {statement}; COMMIT"));
        assert_eq!(lines(&db, "items")[4..].join(", "), expected, "{statement}");
    }
}

/// PostgreSQL keeps the two commands of a version that this transaction wrote and superseded under a number of its own, which
/// may be that of the nested command. Fails if that number is taken for the command's: `NEW.cmin` without `NEW.xmax = '0'`.
#[test]
fn c13_a_number_that_is_not_the_commands() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, name text);
         CREATE TABLE pairs (id int, copy int);
         CREATE FUNCTION touch(item bigint) RETURNS void LANGUAGE sql AS $$
             UPDATE items SET name = 'nested' WHERE id = item $$",
    );
    db.capture("items", ITEM);
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    for spare in 0..60 {
        // As many numbers as rows that one command deletes and others wrote.
        execute(&mut app, "BEGIN");
        execute(
            &mut app,
            "DO $$ BEGIN FOR i IN 1..60 LOOP INSERT INTO pairs VALUES (i, 1), (i, 2); END LOOP; END $$",
        );
        execute(&mut app, "DELETE FROM pairs WHERE copy = 1");
        execute(
            &mut app,
            &format!("DELETE FROM pairs WHERE copy = 2 AND id <= {spare}"),
        );
        execute(
            &mut app,
            &format!("UPDATE items SET name = 'outer {spare}' RETURNING touch(id)"),
        );
        execute(&mut app, "DELETE FROM pairs; COMMIT");
        assert_newest_images_equal_table(&db, "items");
    }
}

/// Fails if a nested statement that also inserts is taken for one that only deletes, as the outer one does.
#[test]
fn c13_a_statement_that_writes_and_deletes_in_the_middle_of_one_that_deletes() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, name text);
         CREATE FUNCTION swap(item bigint) RETURNS void LANGUAGE sql AS $$
             WITH new AS (INSERT INTO items VALUES (item, 'nested') RETURNING id) DELETE FROM items USING new WHERE items.id = 9 $$",
    );
    db.capture("items", ITEM);
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a'), (9, 'z')");
    execute(
        &mut app,
        "DELETE FROM items WHERE id = 1 RETURNING swap(id)",
    );
    assert_newest_images_equal_table(&db, "items");
}
