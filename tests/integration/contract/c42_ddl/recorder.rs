//! What the recorder itself must not get wrong: under any collation, in any encoding, beside virtual columns, and published.

use diesel::prelude::*;
use serde_json::json;
use threadline::capture::{CapturePlan, Policy, Storage, base, columns};
use threadline::{Definition, Level};
use threadline_tests::{TestDb, execute, mutation, offers, rows, try_execute, value};

/// A database of its own with the audit schema, or nothing if this server can't make it.
fn database(name: &str, options: &str) -> Option<PgConnection> {
    let db = TestDb::empty();
    let create = format!("CREATE DATABASE {name} TEMPLATE template0 OWNER tl_owner {options}");
    if !offers(&mut db.superuser(), &create) {
        return None;
    }
    let postgres = db.postgres();
    let mut superuser = PgConnection::establish(&postgres.url(name)).unwrap();
    execute(
        &mut superuser,
        "ALTER SCHEMA public OWNER TO tl_owner; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    );
    let mut owner = PgConnection::establish(&postgres.url_as("tl_owner", name)).unwrap();
    let install = base::up_sql(&Storage::default(), None);
    execute(&mut owner, &mutation::installed(install));
    Some(owner)
}

fn captured(conn: &mut PgConnection, table: &str, level: Level) {
    let policy = Policy {
        level,
        exclude: columns(["secret"]).unwrap(),
        ..Policy::default()
    };
    let plan = CapturePlan::for_table(table.parse().unwrap(), policy).unwrap();
    execute(conn, &mutation::installed(plan.up_sql(&Storage::default())));
}

/// Turkish has a dotless i: its lower case of INSERT is another word.
#[test]
fn c42_operations_under_a_turkish_collation() {
    let db = TestDb::empty();
    if db.postgres().version() < 15 {
        return; // no database has such a collation
    }
    let options = "LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' LOCALE 'C' ENCODING 'UTF8'";
    let Some(mut conn) = database("turkish", options) else {
        return;
    };
    assert_eq!(
        value(&mut conn, "lower('I')"),
        json!("ı"),
        "the test's premise"
    );
    for (level, table) in [(Level::Row, "seats"), (Level::Statement, "places")] {
        execute(
            &mut conn,
            &format!("CREATE TABLE {table} (id int PRIMARY KEY DEFERRABLE, who text, secret text)"),
        );
        captured(&mut conn, table, level);
        execute(
            &mut conn,
            &format!(
                "INSERT INTO {table} VALUES (1, 'a', 'x'), (2, 'b', 'x'), (3, 'c', 'x'); UPDATE {table} SET id = 3 - id WHERE id < 3;
                 DELETE FROM {table} WHERE id = 2; UPDATE {table} SET id = 4 - id"
            ),
        );
        execute(
            &mut conn,
            &format!("TRUNCATE {table}; INSERT INTO {table} VALUES (9, 'd', 'x')"),
        );
    }
    assert_eq!(
        rows(
            &mut conn,
            "SELECT op FROM audit_changes GROUP BY op ORDER BY op COLLATE \"C\""
        ),
        ["delete", "insert", "truncate"].map(|op| json!({"op": op}))
    );
    for table in ["seats", "places"] {
        assert_eq!(
            rows(
                &mut conn,
                &format!(
                    "SELECT id, who FROM threadline_moment(NULL::{table}, '{table}', clock_timestamp())"
                )
            ),
            [json!({"id": 9, "who": "d"})]
        );
    }
}

/// Encodings that have few of Unicode's letters, and none that knows of them.
#[test]
fn c42_databases_of_other_encodings() {
    for (name, encoding) in [
        ("latin", "LATIN1"),
        ("ascii", "SQL_ASCII"),
        ("japanese", "EUC_JP"),
    ] {
        let options = format!("LOCALE 'C' ENCODING '{encoding}'");
        let mut conn = database(name, &options).unwrap();
        execute(
            &mut conn,
            "CREATE TABLE notes (id int PRIMARY KEY, body text, secret text)",
        );
        captured(&mut conn, "notes", Level::Row);
        execute(&mut conn, "INSERT INTO notes VALUES (1, 'a', 'x')");
        assert_eq!(
            rows(
                &mut conn,
                "SELECT id, body FROM threadline_moment(NULL::notes, 'notes', clock_timestamp())"
            ),
            [json!({"id": 1, "body": "a"})],
            "{encoding}"
        );
    }
}

/// A virtual column has no value in a trigger: it is left out, and not NULL.
#[test]
fn c42_virtual_columns_are_left_out() {
    let db = TestDb::new();
    if db.postgres().version() < 18 {
        return; // there are none
    }
    db.create(
        "CREATE TABLE v (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL)",
    );
    let definition = Definition::new("V", &["id"]).store_changed_from();
    db.capture("v", definition);
    execute(
        &mut db.app(),
        "INSERT INTO v (id, a) VALUES (1, 1); INSERT INTO v (id, a) VALUES (2, 2), (3, 3); UPDATE v SET a = 5 WHERE id = 1;
         UPDATE v SET a = a + 1; DELETE FROM v",
    );
    let lines = rows(
        &mut db.auditor(),
        "SELECT coalesce(data_after ? 'b' OR changed_from ? 'b' OR 'b' = ANY (changed_fields), false) AS has_b, count(*) FROM audit_changes GROUP BY 1",
    );
    assert_eq!(lines, [json!({"has_b": false, "count": 10})]);
    let refused = db
        .try_capture("v", definition.level(Level::Statement))
        .unwrap_err();
    assert!(
        refused.to_string().contains("has a virtual column"),
        "{refused}"
    );
}

/// A publication of everything needs to know which row of a table is deleted.
#[test]
fn c42_the_log_is_pruned_while_everything_is_published() {
    let db = TestDb::new();
    db.audited("items", "CREATE TABLE items (id bigint PRIMARY KEY)");
    execute(&mut db.app(), "INSERT INTO items VALUES (1)");
    execute(
        &mut db.superuser(),
        "CREATE PUBLICATION everything FOR ALL TABLES",
    );
    execute(
        &mut db.superuser(),
        "SET ROLE threadline_retention; DELETE FROM audit_changes; DELETE FROM audit_commits; DELETE FROM audit_transactions",
    );
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_commits"),
        json!(0)
    );
}

/// A table of the application may have the name of one of the log's in another schema.
#[test]
fn c42_a_table_that_is_named_like_one_of_the_log() {
    let db = TestDb::new();
    db.create("CREATE SCHEMA app");
    db.audited(
        "app.audit_changes",
        "CREATE TABLE app.audit_changes (id int PRIMARY KEY, op text)",
    );
    execute(
        &mut db.owner(),
        "INSERT INTO app.audit_changes VALUES (1, 'x')",
    );
    assert_eq!(
        rows(
            &mut db.auditor(),
            "SELECT table_schema, table_pk FROM audit_changes"
        ),
        [json!({"table_schema": "app", "table_pk": {"id": "1"}})]
    );
}

/// A type that allows no NULL: as a column that is stored when it changes, that is kept out, and that came later.
#[test]
fn c42_domains_that_allow_no_null() {
    for level in [Level::Row, Level::Statement] {
        let db = TestDb::new();
        db.create(
            "CREATE DOMAIN doc AS text NOT NULL; CREATE DOMAIN code AS text NOT NULL DEFAULT 'x';
             CREATE TABLE notes (id int PRIMARY KEY, n int, body doc, secret doc)",
        );
        let definition = Definition::new("Note", &["id"])
            .on_change(&["body"])
            .exclude(&["secret"])
            .level(level);
        db.capture("notes", definition);
        execute(
            &mut db.app(),
            "INSERT INTO notes VALUES (1, 1, 'text', 's'), (2, 1, 'text', 's'); UPDATE notes SET n = 2; UPDATE notes SET body = 'other' WHERE id = 1",
        );
        let problem = |fill: &str| {
            value(
                &mut db.auditor(),
                &format!(
                    "SELECT coalesce(d.problem, d.row_image::text) FROM threadline_as_of('notes', '{{\"id\": 1}}', clock_timestamp()) a,
                     threadline_decode(NULL::notes, 'notes', threadline_whole(a.change), '{fill}') d"
                ),
            )
        };
        assert_eq!(
            problem("{}"),
            json!("column secret: domain doc does not allow null values")
        );
        assert_eq!(problem("{\"secret\": \"-\"}"), json!("(1,2,other,-)"));
        let whole =
            "SELECT count(*) FROM threadline_moment(NULL::notes, 'notes', clock_timestamp())";
        let refused = try_execute(&mut db.auditor(), whole).unwrap_err();
        assert!(
            refused.contains("column secret: domain doc does not allow null values"),
            "{refused}"
        );
        db.create("ALTER TABLE notes ADD c code");
        assert_eq!(
            problem("{\"secret\": \"-\"}"),
            json!("column c: domain code does not allow null values")
        );
        execute(&mut db.owner(), "SELECT threadline_note('notes')");
        execute(&mut db.app(), "UPDATE notes SET n = 3");
        assert_eq!(problem("{\"secret\": \"-\"}"), json!("(1,3,other,-,x)"));
    }
}

/// PostgreSQL keeps the number of a column that is renamed, and that of a dropped one is nobody's.
#[test]
fn c42_redacted_columns_go_by_their_numbers() {
    for level in [Level::Row, Level::Statement] {
        let db = TestDb::new();
        let mut owner = db.owner();
        let definition = Definition::new("Model", &["id"])
            .exclude(&["secret"])
            .level(level);
        for table in ["dropped", "replaced"] {
            db.create(&format!(
                "CREATE TABLE {table} (id int PRIMARY KEY, secret text)"
            ));
            db.capture(table, definition);
            execute(
                &mut owner,
                &format!("INSERT INTO {table} VALUES (1, 'hidden')"),
            );
        }
        execute(&mut owner, "ALTER TABLE dropped DROP secret, ADD x int");
        execute(&mut owner, "UPDATE dropped SET x = 1");
        execute(&mut owner, "INSERT INTO dropped VALUES (2, 2), (3, 3)");
        execute(
            &mut owner,
            "ALTER TABLE replaced RENAME secret TO other; ALTER TABLE replaced ADD secret text",
        );
        for write in [
            "UPDATE replaced SET secret = ''",
            "INSERT INTO replaced VALUES (2, 'hidden'), (3, 'hidden')",
        ] {
            let refused = try_execute(&mut owner, write).unwrap_err();
            assert!(
                refused.contains("lost its redacted column secret and has an unknown column other"),
                "{refused}"
            );
        }
        assert_eq!(
            value(
                &mut db.auditor(),
                "SELECT count(*) FROM audit_changes c WHERE c::text LIKE '%hidden%'"
            ),
            json!(0)
        );
        // Under another name of the same column, and in a copy where the numbers are others.
        db.capture(
            "replaced",
            Definition::new("Model", &["id"])
                .exclude(&["other"])
                .level(level),
        );
        execute(&mut owner, "UPDATE replaced SET secret = 'shown'");
        execute(
            &mut db.superuser(),
            "UPDATE audit_tables SET identity = identity || '{\"cluster\": \"another\"}'",
        );
        let refused = try_execute(&mut owner, "UPDATE dropped SET x = 2").unwrap_err();
        assert!(
            refused.contains("lost its redacted column secret"),
            "{refused}"
        );
    }
}

/// The table is dropped, and then its migrations are reverted: nothing of its capture is left behind.
#[test]
fn c42_a_dropped_table_leaves_no_function() {
    let db = TestDb::new();
    db.audited("items", "CREATE TABLE items (id bigint PRIMARY KEY)");
    execute(&mut db.owner(), "DROP TABLE items");
    execute(
        &mut db.owner(),
        "SELECT threadline_release_v1(to_regclass('items'), 'items', '1s')",
    );
    assert_eq!(
        value(
            &mut db.owner(),
            "SELECT count(*) FROM pg_proc WHERE proname LIKE 'threadline\\_capture\\__'"
        ),
        json!(0)
    );
}
