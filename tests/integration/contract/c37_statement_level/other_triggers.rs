//! C13 at statement level: whatever else writes in the middle of a statement, the newest image is the row.

use threadline::Level;
use threadline_tests::{TestDb, execute};

use super::super::log::assert_newest_images_equal_table;
use super::{ITEM, captured, items};

/// Rows 1 to 3, and a trigger of the application.
fn with_trigger(name: &str, timing: &str, body: &str) -> TestDb {
    let db = items("name text");
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    db.create(&format!(
        "CREATE FUNCTION app_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$;
         CREATE TRIGGER \"{name}\" AFTER {timing} WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION app_trigger()"
    ));
    db
}

/// Names that fire before ours and after it.
const NAMES: [&str; 3] = ["!a", "a", "~"];

fn holds(timing: &str, body: &str, statements: &str) {
    for name in NAMES {
        let db = with_trigger(name, timing, body);
        execute(&mut db.app(), statements);
        assert_newest_images_equal_table(&db, "items");
    }
}

const BODIES: [&str; 4] = [
    "UPDATE items SET name = 'nested' WHERE id = 2",
    "DELETE FROM items WHERE id = 2",
    "UPDATE items SET id = 20 WHERE id = 2",
    "DELETE FROM items WHERE id = 2; INSERT INTO items VALUES (2, 'again')",
];

#[test]
fn c37_row_triggers_that_write() {
    for body in BODIES {
        holds(
            "UPDATE ON items FOR EACH ROW",
            body,
            "UPDATE items SET name = 'outer' || id",
        );
    }
}

#[test]
fn c37_statement_triggers_that_write() {
    for body in BODIES {
        holds(
            "UPDATE ON items FOR EACH STATEMENT",
            body,
            "UPDATE items SET name = 'outer' || id",
        );
    }
}

#[test]
fn c37_triggers_that_write_after_inserts_and_deletes() {
    holds(
        "INSERT ON items FOR EACH ROW",
        "UPDATE items SET name = 'nested' WHERE id IN (1, 12)",
        "INSERT INTO items VALUES (11, 'outer'), (12, 'outer')",
    );
    holds(
        "INSERT ON items FOR EACH ROW",
        "DELETE FROM items WHERE id = 12",
        "INSERT INTO items VALUES (11, 'outer'), (12, 'outer')",
    );
    holds(
        "DELETE ON items FOR EACH STATEMENT",
        "INSERT INTO items VALUES (1, 'again')",
        "DELETE FROM items WHERE id < 3",
    );
    holds(
        "DELETE ON items FOR EACH ROW",
        "INSERT INTO items VALUES (1, 'again') ON CONFLICT (id) DO UPDATE SET name = 'and again'",
        "DELETE FROM items WHERE id < 3",
    );
}

/// Events of a statement that a trigger interrupted, in a transaction that had captured before.
#[test]
fn c37_triggers_that_write_in_a_transaction_that_had_captured_before() {
    holds(
        "UPDATE ON items FOR EACH ROW",
        BODIES[0],
        "BEGIN; INSERT INTO items VALUES (4, 'first'); UPDATE items SET name = 'outer'; UPDATE items SET name = 'last' WHERE id > 1; COMMIT",
    );
}

/// The function's own statement ends, and is recorded, before the one that calls it.
#[test]
fn c37_functions_of_the_statement_that_write() {
    let db = items("name text");
    db.create(
        "CREATE FUNCTION touch(wanted bigint) RETURNS text LANGUAGE sql AS $$
             UPDATE items SET name = name || '+' WHERE id = wanted RETURNING name $$",
    );
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a'), (2, 'b')");
    execute(
        &mut app,
        "UPDATE items SET name = 'outer' RETURNING touch(id)",
    );
    assert_newest_images_equal_table(&db, "items");
    execute(
        &mut app,
        "INSERT INTO items VALUES (3, 'c'), (4, 'd') RETURNING touch(id)",
    );
    assert_newest_images_equal_table(&db, "items");
}

/// The rows that a cascade changes join those of the statement that set it off.
#[test]
fn c37_cascades_within_one_table() {
    let db = captured(
        "CREATE TABLE nodes (id bigint PRIMARY KEY,
             parent_id bigint REFERENCES nodes ON UPDATE CASCADE ON DELETE CASCADE,
             elder_id bigint REFERENCES nodes ON UPDATE CASCADE ON DELETE SET NULL)",
        &["nodes"],
        ITEM.level(Level::Statement),
    );
    let mut app = db.app();
    for statement in [
        "INSERT INTO nodes VALUES (1, NULL, NULL), (2, 1, 2), (3, 2, 1), (4, 4, 4)",
        "UPDATE nodes SET id = 5 WHERE id = 2",
        "UPDATE nodes SET id = id + 10",
        "DELETE FROM nodes WHERE id = 15",
        "DELETE FROM nodes",
    ] {
        execute(&mut app, statement);
        assert_newest_images_equal_table(&db, "nodes");
    }
}
