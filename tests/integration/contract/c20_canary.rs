//! C20: no raw value of a redacted column is anywhere.

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::{Definition, prelude::*};
use threadline_tests::{TestDb, execute, postgres, rows, try_execute, value};

/// The canary and the control, put together by the server: in no statement's text, so that the server's log can only
/// have them from a row.
const CANARY: &str = "'canary' || '-' || left(md5('bird'), 8)";
const CONTROL: &str = "'control' || '-' || left(md5('bird'), 8)";

fn spelled(db: &TestDb, expression: &str) -> String {
    let text = value(&mut db.auditor(), &format!("SELECT {expression}"));
    text.as_str().unwrap().to_owned()
}

/// Every row of every audit table as text.
fn log_as_text(db: &TestDb) -> String {
    let tables = [
        "audit_tables",
        "audit_transactions",
        "audit_changes",
        "audit_actions",
        "audit_commits",
    ];
    let of = |table: &&str| {
        let text = rows(
            &mut db.auditor(),
            &format!("SELECT t::text AS row FROM {table} t"),
        );
        Value::from(text).to_string()
    };
    tables.iter().map(of).collect()
}

/// The canary, its parts and its digests are not in `text`, and the control is.
fn assert_redacted(db: &TestDb, text: &str, of: &str) {
    let mut traces = vec!["canary-".to_owned()];
    for digest in [
        "md5(v)",
        "encode(sha256(v::bytea), 'hex')",
        "encode(v::bytea, 'hex')",
        "encode(v::bytea, 'base64')",
    ] {
        traces.push(spelled(
            db,
            &format!("{digest} FROM (SELECT {CANARY} AS v) q"),
        ));
    }
    let text = text.to_lowercase();
    for trace in traces {
        let trace = trace.to_lowercase();
        assert!(!text.contains(&trace), "{of} holds {trace}");
    }
    assert!(text.contains(&spelled(db, CONTROL)), "{of} has no control");
}

diesel::table! {
    birds (id) {
        id -> Integer, name -> Nullable<Text>, masked -> Nullable<Text>, masked_doc -> Nullable<Jsonb>, masked_raw -> Nullable<Binary>,
        excluded -> Nullable<Text>, derived -> Nullable<Text>,
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = birds)]
#[audited(store_changed_from)]
struct Bird {
    id: i32,
    name: Option<String>,
    #[audited(mask)]
    masked: Option<String>,
    #[audited(mask)]
    masked_doc: Option<Value>,
    #[audited(mask)]
    masked_raw: Option<Vec<u8>>,
    #[audited(exclude)]
    excluded: Option<String>,
    #[audited(exclude)]
    derived: Option<String>,
}

fn birds() -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE birds (id int PRIMARY KEY, name text, masked text, masked_doc jsonb, masked_raw bytea, excluded text,
                             derived text GENERATED ALWAYS AS (upper(masked)) STORED)",
    );
    db.capture("birds", Bird::DEFINITION);
    db
}

/// All columns of a new row, with `extra` after the secrets.
fn bird(id: &str, extra: &str) -> String {
    format!(
        "SELECT {id}, {CONTROL}, c || {extra}, jsonb_build_object(c, ARRAY[c]), (c || {extra})::bytea, c || {extra}
         FROM (SELECT {CANARY} AS c) q"
    )
}

const COLUMNS: &str = "birds (id, name, masked, masked_doc, masked_raw, excluded)";

/// Writes the canary by every path that reaches a row.
fn write_everywhere(db: &TestDb) {
    let mut app = db.app();
    let (one, two) = (bird("1", "''"), bird("2", "repeat('x', 1500000)"));
    execute(&mut app, &format!("INSERT INTO {COLUMNS} {one}"));
    execute(&mut app, "UPDATE birds SET name = name || '!'");
    execute(
        &mut app,
        "UPDATE birds SET masked = masked || '2', masked_doc = masked_doc || '{\"k\": 1}', masked_raw = masked_raw || '2', excluded = excluded || '2'",
    );
    execute(
        &mut app,
        &format!(
            "INSERT INTO {COLUMNS} {one} ON CONFLICT (id) DO UPDATE SET masked = EXCLUDED.masked || birds.excluded, name = EXCLUDED.name"
        ),
    );
    // MERGE came with PostgreSQL 15.
    let merge = if postgres().version() >= 15 {
        format!(
            "MERGE INTO birds USING ({one}) AS s (id, name, masked, doc, raw, excluded) ON s.id = birds.id WHEN MATCHED THEN UPDATE SET excluded = s.masked, masked = NULL"
        )
    } else {
        format!(
            "UPDATE birds SET excluded = s.masked, masked = NULL FROM ({one}) AS s (id, name, masked, doc, raw, excluded) WHERE s.id = birds.id"
        )
    };
    execute(&mut app, &merge);
    // Too large for the log, as a whole row and before and after.
    execute(&mut app, &format!("INSERT INTO {COLUMNS} {two}"));
    execute(
        &mut app,
        "UPDATE birds SET masked = excluded || masked, masked_raw = excluded::bytea, name = name || '?'",
    );
    execute(
        &mut app,
        "UPDATE birds SET excluded = masked, masked = 'small' WHERE id = 2",
    );
    execute(&mut app, "UPDATE birds SET id = id + 10, masked = excluded");
    let path = postgres().dir().join(format!("{}.copy", db.name()));
    let mut superuser = db.superuser();
    execute(
        &mut superuser,
        &format!("COPY ({}) TO '{}'", bird("3", "''"), path.display()),
    );
    execute(
        &mut superuser,
        &format!("COPY {COLUMNS} FROM '{}'", path.display()),
    );
    execute(&mut app, "DELETE FROM birds WHERE id > 5");
}

/// Fails without any of these in `threadline_record_v1`: `after := after - exclude`, the masking of `after`, that of
/// `before`, its ` - hidden`, the removal of `hidden` from `changed`.
#[test]
fn c20_no_canary_in_the_audit_tables() {
    let db = birds();
    write_everywhere(&db);
    let changes = value(
        &mut db.auditor(),
        "SELECT jsonb_object_agg(op, n) FROM (SELECT op, count(*) n FROM audit_changes GROUP BY op) c",
    );
    assert_eq!(changes, json!({"insert": 5, "update": 7, "delete": 4}));
    assert_redacted(&db, &log_as_text(&db), "the log");
}

/// Fails without the masking of `before` in `threadline_record_v1`, through typed history.
#[test]
fn c20_no_canary_in_typed_history() {
    let db = birds();
    write_everywhere(&db);
    let mut auditor = db.auditor();
    let changes = Bird::changes().load(&mut auditor).unwrap();
    assert_eq!(changes.len(), 16);
    assert_redacted(&db, &format!("{changes:?}"), "Change's Debug");
    let history = Bird::history(3).load(&mut auditor).unwrap();
    assert_redacted(&db, &format!("{history:?}"), "history");
    let row = Bird::as_of(3, diesel::dsl::now)
        .get_result(&mut auditor)
        .unwrap();
    assert_redacted(&db, &format!("{row:?}"), "as of");
}

/// Fails without the masking of `after` in `threadline_record_v1`, since PostgreSQL logs a row that a constraint refuses,
/// and when `threadline_key_of_v1` puts its image into the error.
#[test]
fn c20_no_canary_in_errors_and_in_the_servers_log() {
    let db = TestDb::new();
    // Short names, because PostgreSQL prints the first 64 bytes of a failing row's values.
    db.create("CREATE TABLE nests (id int PRIMARY KEY, a text, m text, x text)");
    let rules = Definition::new("Nest", &["id"]).store_changed_from();
    db.capture("nests", rules.mask(&["m"]).exclude(&["x"]));
    let mut app = db.app();
    execute(
        &mut app,
        &format!("INSERT INTO nests SELECT 1, {CONTROL}, {CANARY}, {CANARY}"),
    );
    let mut superuser = db.superuser();
    let mut errors = String::new();
    let mut refused = |app: &mut PgConnection, sql: &str| {
        errors.push_str(&try_execute(app, sql).expect_err(sql));
    };
    let update = "UPDATE nests SET m = m || m, a = a || '!'";
    let writes = [
        update,
        "DELETE FROM nests",
        "UPDATE nests SET id = 5",
        "UPDATE nests SET m = m || repeat('x', 1500000)",
        "INSERT INTO nests SELECT 2, a, m, x FROM nests",
    ];
    // Refusals of ours, and then failures of the server in the middle of capture: constraints that the log's row
    // doesn't meet.
    for setting in ["actor_ref", "meta"] {
        refused(
            &mut app,
            &format!("BEGIN; SELECT set_config('threadline.{setting}', '[]', true); {update}"),
        );
        execute(&mut app, "ROLLBACK");
    }
    for (break_it, mend_it) in [
        (
            "ALTER TABLE audit_changes ADD CONSTRAINT never CHECK (op = 'never') NOT VALID",
            "ALTER TABLE audit_changes DROP CONSTRAINT never",
        ),
        (
            "ALTER TABLE audit_changes ADD never int NOT NULL DEFAULT 1; ALTER TABLE audit_changes ALTER never DROP DEFAULT",
            "ALTER TABLE audit_changes DROP never",
        ),
        (
            "CREATE UNIQUE INDEX once ON audit_changes (table_name)",
            "DROP INDEX once",
        ),
    ] {
        execute(&mut superuser, break_it);
        for sql in writes {
            refused(&mut app, sql);
        }
        execute(&mut superuser, mend_it);
    }
    for (rename, back) in [("m TO n", "n TO m"), ("id TO number", "number TO id")] {
        db.create(&format!("ALTER TABLE nests RENAME {rename}"));
        refused(&mut app, "UPDATE nests SET a = a || '!'");
        refused(&mut app, "DELETE FROM nests");
        db.create(&format!("ALTER TABLE nests RENAME {back}"));
    }
    db.create("ALTER TABLE nests RENAME TO homes");
    refused(&mut app, "UPDATE homes SET m = x || x");

    // The control: PostgreSQL prints the failing row of the log, and what isn't redacted is in it.
    assert_redacted(&db, &postgres().log(), "the server's log");
    assert!(!errors.to_lowercase().contains("canary"), "{errors}");
    assert!(errors.contains("threadline"), "{errors}");
}

/// Fails without `s.attname = ANY (redacted)` in `threadline_check_redaction_v1`.
#[test]
fn c20_a_generated_column_computed_from_a_redacted_one_is_refused() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE people (id int PRIMARY KEY, ssn text, last4 text GENERATED ALWAYS AS (right(ssn, 4)) STORED)",
    );
    let masked = Definition::new("Person", &["id"]).mask(&["ssn"]);
    for definition in [masked, Definition::new("Person", &["id"]).exclude(&["ssn"])] {
        let error = db
            .try_capture("people", definition)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(
                "column last4 of table public.people is computed from the redacted column ssn"
            ),
            "{error}"
        );
    }
    db.capture("people", masked.exclude(&["last4"]));
    execute(
        &mut db.app(),
        "INSERT INTO people VALUES (1, '078-05-1120')",
    );
    assert_eq!(
        rows(&mut db.auditor(), "SELECT data_after FROM audit_changes"),
        [json!({"data_after": {"id": 1, "ssn": "[REDACTED]"}})]
    );
}

/// Fails without the check of generated columns on a row with an unknown column in the trigger.
#[test]
fn c20_a_generated_column_added_later_is_refused_before_it_leaks() {
    let db = TestDb::new();
    db.create("CREATE TABLE people (id int PRIMARY KEY, ssn text)");
    let masked = Definition::new("Person", &["id"]).mask(&["ssn"]);
    db.capture("people", masked);
    db.create("ALTER TABLE people ADD COLUMN city text, ADD COLUMN last4 text GENERATED ALWAYS AS (right(ssn, 4)) STORED");
    let error = try_execute(
        &mut db.app(),
        "INSERT INTO people VALUES (1, '078-05-1120')",
    )
    .unwrap_err();
    for part in [
        "last4",
        "people",
        "redacted column ssn",
        "Exclude or mask last4 too",
    ] {
        assert!(error.contains(part), "{error}");
    }
    db.capture("people", masked.mask(&["ssn", "last4"]));
    execute(
        &mut db.app(),
        "INSERT INTO people VALUES (1, '078-05-1120', 'Bern')",
    );
    assert_eq!(
        rows(&mut db.auditor(), "SELECT data_after FROM audit_changes"),
        [
            json!({"data_after": {"id": 1, "ssn": "[REDACTED]", "last4": "[REDACTED]", "city": "Bern"}})
        ]
    );
}

/// Fails when `threadline_capture_v1` notes the defaults of redacted columns (`threadline_added_columns_v1(relation, '{}')`).
#[test]
fn c20_no_canary_from_a_columns_default() {
    let db = TestDb::new();
    db.create(&format!(
        "CREATE TABLE birds (id int PRIMARY KEY);
         INSERT INTO birds VALUES (1);
         DO $$ BEGIN
           EXECUTE format('ALTER TABLE birds ADD COLUMN name text DEFAULT %L, ADD COLUMN masked text DEFAULT %L,
                           ADD COLUMN excluded text DEFAULT %L', {CONTROL}, {CANARY}, {CANARY});
         END $$"
    ));
    db.capture(
        "birds",
        Definition::new("Bird", &["id"])
            .mask(&["masked"])
            .exclude(&["excluded"]),
    );
    assert_redacted(&db, &log_as_text(&db), "the log");
}
