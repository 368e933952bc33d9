//! How it is known that another command of the statement wrote: by the numbers of the commands.

use super::*;

/// Fails without the state '+' of threadline_enter_v1.
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

/// Rows are only read again after nested writes. Fails if the commands of different statements are taken for nested ones.
#[test]
fn c13_plain_statements_are_not_taken_for_nested_ones() {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text, parent_id bigint REFERENCES items ON DELETE CASCADE)",
    );
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items VALUES (200, 'parent', NULL), (201, 'child', 200), (202, 'grandchild', 201)",
    );
    for statement in [
        "DELETE FROM items WHERE id = 200",
        "INSERT INTO items VALUES (1, 'a')",
        "INSERT INTO items VALUES (1, 'b') ON CONFLICT (id) DO UPDATE SET name = 'b'",
        "WITH gone AS (DELETE FROM items WHERE id < 100 RETURNING *) INSERT INTO items SELECT id + 1, name FROM gone",
        "UPDATE items SET id = 3 WHERE id < 100",
        "DELETE FROM items WHERE id < 100",
    ] {
        execute(&mut app, "BEGIN");
        for statement in [
            "INSERT INTO items VALUES (100)",
            statement,
            "DELETE FROM items WHERE id = 100",
        ] {
            execute(&mut app, statement);
            let state = value(
                &mut app,
                "SELECT substr(current_setting('threadline.open'), 37, 1)",
            );
            assert_eq!(state, "-", "{statement}");
        }
        execute(&mut app, "COMMIT");
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
