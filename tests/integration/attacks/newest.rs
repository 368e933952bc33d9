//! The newest image of a row is the row, also where what writes in the middle of a statement hides it from the settings.

use super::marks::settings;
use super::*;
use threadline_tests::log::assert_newest_images_equal_table;

on_both_kinds!(
    a_function_of_returning,
    a_function_of_insert_select,
    a_row_that_is_deleted_and_inserted_again,
    a_trigger_before_ours,
    a_trigger_after_ours,
);

/// One table for each level.
const TABLES: [&str; 2] = ["by_row", "by_statement"];

fn tables(db: &TestDb) {
    let rules = Definition::new("Item", &["id"]).store_changed_from();
    for (table, level) in TABLES.into_iter().zip([Level::Row, Level::Statement]) {
        db.create(&format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, how text, name text)"
        ));
        db.capture(table, rules.level(level));
    }
}

/// PL/pgSQL that runs `write` and changes settings around it: what is changed, and the body.
fn hidings(db: &TestDb, write: &str) -> Vec<(String, String)> {
    let all = settings(db);
    let saved = |settings: &[String]| {
        let read: Vec<_> = settings
            .iter()
            .map(|s| format!("current_setting('{s}', true)"))
            .collect();
        format!("saved pg_catalog.text[] := ARRAY[{}];", read.join(", "))
    };
    let restored = |settings: &[String]| -> String {
        let set = |(at, s): (usize, &String)| {
            format!("PERFORM set_config('{s}', saved[{}], true);", at + 1)
        };
        settings.iter().enumerate().map(set).collect()
    };
    let emptied = |settings: &[String]| -> String {
        settings
            .iter()
            .map(|s| format!("PERFORM set_config('{s}', '', true);"))
            .collect()
    };
    let mut groups: Vec<_> = all.iter().map(|setting| vec![setting.clone()]).collect();
    groups.push(all);
    let mut hidings = Vec::new();
    for group in groups {
        let name = group.join(", ");
        let (declare, empty) = (saved(&group), emptied(&group));
        hidings.push((
            format!("{name} emptied after"),
            format!("BEGIN {write}; {empty}"),
        ));
        hidings.push((
            format!("{name} emptied around"),
            format!("BEGIN {empty} {write}; {empty}"),
        ));
        hidings.push((
            format!("{name} restored"),
            format!("DECLARE {declare} BEGIN {write}; {}", restored(&group)),
        ));
    }
    for (name, body) in [
        ("nothing", format!("BEGIN {write};")),
        ("RESET ALL after", format!("BEGIN {write}; RESET ALL;")),
        (
            "RESET ALL around",
            format!("BEGIN RESET ALL; {write}; RESET ALL;"),
        ),
        (
            "an exception block",
            format!("BEGIN BEGIN {write}; EXCEPTION WHEN OTHERS THEN RAISE; END;"),
        ),
    ] {
        hidings.push((name.to_owned(), body));
    }
    hidings
}

/// For each table and each way to hide it: rows `:k` and `:k + 1`, a function `pg_temp.disturb(k)` that writes as `nested`
/// says, and a statement that calls it. In transactions of their own and in one that captured before.
fn disturbed(db: &TestDb, nested: &str, statement: &str) {
    tables(db);
    let mut app = db.app();
    for table in TABLES {
        let mut key = 0;
        for (how, body) in hidings(db, &nested.replace(":t", table)) {
            execute(
                &mut app,
                &format!(
                    "CREATE OR REPLACE FUNCTION pg_temp.disturb(k bigint) RETURNS text LANGUAGE plpgsql AS $f$ {body} RETURN 'x'; END $f$"
                ),
            );
            for before in ["", "UPDATE :t SET name = 'first' WHERE id = :k;"] {
                key += 10;
                let told = format!("{how} {before}").replace('\'', "");
                let sql =
                    format!("INSERT INTO :t VALUES (:k, '{told}', 'a'), (:k + 1, '{told}', 'b')");
                let fill = |sql: &str| sql.replace(":t", table).replace(":k", &key.to_string());
                execute(&mut app, &fill(&sql));
                execute(&mut app, &format!("BEGIN; {}", fill(before)));
                execute(&mut app, &fill(statement));
                execute(&mut app, "COMMIT");
            }
        }
    }
    for table in TABLES {
        assert_newest_images_equal_table(db, table);
    }
}

fn a_function_of_returning(db: &TestDb) {
    disturbed(
        db,
        "UPDATE :t SET name = 'nested' WHERE id = k",
        "UPDATE :t SET name = 'outer' WHERE id = :k RETURNING pg_temp.disturb(id)",
    );
}

/// The function that makes the second row writes to the first one.
fn a_function_of_insert_select(db: &TestDb) {
    disturbed(
        db,
        "UPDATE :t SET name = 'nested' WHERE id = k",
        "INSERT INTO :t SELECT :k + 2 + i, (SELECT how FROM :t WHERE id = :k), pg_temp.disturb(:k + 1 + i) FROM generate_series(0, 2) i",
    );
}

fn a_row_that_is_deleted_and_inserted_again(db: &TestDb) {
    disturbed(
        db,
        "INSERT INTO :t VALUES (k, 'again', 'nested')",
        "DELETE FROM :t WHERE id IN (:k, :k + 1) RETURNING pg_temp.disturb(id)",
    );
}

fn triggered(db: &TestDb, name: &str) {
    tables(db);
    let mut app = db.app();
    for table in TABLES {
        db.create(&format!(
            "CREATE FUNCTION {table}_disturb() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER \"{name}\" AFTER UPDATE ON {table} FOR EACH ROW WHEN (NEW.name = 'outer' AND NEW.id % 10 = 0) EXECUTE FUNCTION {table}_disturb()"
        ));
        let write = format!("UPDATE {table} SET name = 'nested' WHERE id = NEW.id + 1");
        for (at, (how, body)) in hidings(db, &write).into_iter().enumerate() {
            execute(
                &mut db.owner(),
                &format!(
                    "CREATE OR REPLACE FUNCTION {table}_disturb() RETURNS trigger LANGUAGE plpgsql AS $f$ {body} RETURN NULL; END $f$"
                ),
            );
            let key = at * 10 + 10;
            execute(
                &mut app,
                &format!(
                    "INSERT INTO {table} VALUES ({key}, '{how}', 'a'), ({key} + 1, '{how}', 'b')"
                ),
            );
            execute(
                &mut app,
                &format!("UPDATE {table} SET name = 'outer' WHERE id IN ({key}, {key} + 1)"),
            );
        }
    }
    for table in TABLES {
        assert_newest_images_equal_table(db, table);
    }
}

fn a_trigger_before_ours(db: &TestDb) {
    triggered(db, "!a");
}

fn a_trigger_after_ours(db: &TestDb) {
    triggered(db, "~");
}
