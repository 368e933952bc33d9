//! Versions that the writer's transaction locked, which sets their `xmax`, and versions that were superseded as well.

use serde_json::Value;
use threadline::Level;

use super::*;

/// What locks the rows before they are written.
const LOCKS: [(&str, &str, &str); 6] = [
    ("nothing", "", ""),
    (
        "a BEFORE UPDATE trigger",
        "CREATE TRIGGER touch BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION touch()",
        "",
    ),
    ("SELECT FOR UPDATE", "", "PERFORM FROM items FOR UPDATE;"),
    ("SELECT FOR SHARE", "", "PERFORM FROM items FOR SHARE;"),
    (
        "a savepoint",
        "",
        "BEGIN PERFORM FROM items FOR UPDATE; UPDATE items SET note = 'undone'; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;
         BEGIN PERFORM FROM items FOR NO KEY UPDATE; EXCEPTION WHEN division_by_zero THEN NULL; END;",
    ),
    (
        "an upsert",
        "",
        "INSERT INTO items SELECT n, 0 FROM generate_series(1, 20) n ON CONFLICT (id) DO UPDATE SET note = 'upserted';",
    ),
];

/// What writes to rows that are being written: in the same statement, in the next, in a savepoint.
const WRITES: [(&str, &str, &str); 8] = [
    ("nothing else", "", "UPDATE items SET note = 'new' WHERE {rows}"),
    (
        "a trigger, before the row's turn",
        "CREATE TRIGGER zz AFTER UPDATE ON items FOR EACH ROW WHEN (NEW.note = 'new') EXECUTE FUNCTION supersede()",
        "UPDATE items SET note = 'new' WHERE {rows}",
    ),
    (
        "a trigger that deletes",
        "CREATE TRIGGER zz AFTER UPDATE ON items FOR EACH ROW WHEN (NEW.note = 'new') EXECUTE FUNCTION remove()",
        "UPDATE items SET note = 'new' WHERE {rows}",
    ),
    (
        "a function of RETURNING",
        "",
        "FOR one IN UPDATE items SET note = 'new' WHERE {rows} RETURNING superseded(id) LOOP NULL; END LOOP",
    ),
    (
        "a CTE",
        "",
        "WITH first AS (UPDATE items SET note = 'new' WHERE {rows} RETURNING id), second AS (SELECT superseded(id) AS k FROM first)
         UPDATE items SET n = n + 1 WHERE id > 16 AND id > (SELECT min(k) FROM second)",
    ),
    (
        "the next statement",
        "",
        "UPDATE items SET note = 'new' WHERE {rows}; UPDATE items SET n = n + 1; PERFORM FROM items FOR UPDATE; UPDATE items SET note = note || n",
    ),
    (
        "a savepoint between",
        "",
        "UPDATE items SET note = 'new' WHERE {rows};
         BEGIN UPDATE items SET n = 100; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;
         BEGIN UPDATE items SET n = n + 1; EXCEPTION WHEN division_by_zero THEN NULL; END; UPDATE items SET note = 'last' WHERE {rows}",
    ),
    (
        "a row at a time",
        "",
        "FOR one IN SELECT id FROM items WHERE {rows} FOR UPDATE LOOP UPDATE items SET note = 'new' WHERE id = one.id; UPDATE items SET n = n + 1 WHERE id = one.id; END LOOP",
    ),
];

fn database(definition: Definition) -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, n bigint, note text, at timestamptz);
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := clock_timestamp(); RETURN NEW; END $$;
         CREATE FUNCTION supersede() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             UPDATE items SET n = n + 10 WHERE id = NEW.id + 1; RETURN NULL; END $$;
         CREATE FUNCTION remove() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             DELETE FROM items WHERE id = NEW.id + 1 AND id % 3 = 0; RETURN NULL; END $$;
         CREATE FUNCTION superseded(k bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
             UPDATE items SET n = n + 10 WHERE id IN (k, 16); RETURN k; END $$",
    );
    db.capture("items", definition);
    db
}

fn holds(level: Level) {
    let definition = Definition::new("Item", &["id"]).store_changed_from();
    for (lock, locking, locks) in LOCKS {
        let db = database(definition.level(level));
        let (mut owner, mut app) = (db.owner(), db.app());
        execute(&mut owner, &format!("SELECT; {locking}"));
        for (what, writing, writes) in WRITES {
            execute(
                &mut owner,
                &format!("DROP TRIGGER IF EXISTS zz ON items; {writing}"),
            );
            execute(
                &mut app,
                "DELETE FROM items; INSERT INTO items SELECT n, 0 FROM generate_series(1, 20) n",
            );
            for rows in ["id = 2", "id < 15"] {
                let writes = writes.replace("{rows}", rows);
                execute(
                    &mut app,
                    &format!("DO $do$ DECLARE one record; BEGIN {locks} {writes}; END $do$"),
                );
                let (live, logged) = (live(&db), logged(&db));
                assert_eq!(live, logged, "{level:?}: {lock}, {what}, {rows}");
            }
        }
    }
}

#[test]
fn c13_a_version_that_was_locked_or_superseded() {
    holds(Level::Row);
}

#[test]
fn c13_a_version_that_was_locked_or_superseded_at_statement_level() {
    holds(Level::Statement);
}

fn live(db: &TestDb) -> Vec<Value> {
    rows(&mut db.owner(), "SELECT id, n, note FROM items ORDER BY id")
}

/// The newest images, without those of rows that are gone.
fn logged(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT (data_after -> 'id')::bigint AS id, (data_after -> 'n')::bigint AS n, data_after ->> 'note' AS note FROM (
             SELECT DISTINCT ON (table_pk) * FROM audit_changes ORDER BY table_pk, id DESC) c
         WHERE op <> 'delete' ORDER BY 1",
    )
}
