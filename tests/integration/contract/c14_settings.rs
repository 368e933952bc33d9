//! C14: stored values do not depend on the session.

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

/// A value of every kind that one of the settings prints differently, alone and where only its text is stored: in a
/// range, whose bounds follow `DateStyle`, and in a composite.
const TABLE: &str = "
    CREATE TYPE moment AS (at timestamptz, span interval);
    CREATE TABLE samples (
        id integer PRIMARY KEY, note text, at timestamptz, ats timestamptz[], nested moment, period tstzrange,
        days daterange, span interval, ratio float8, small float4, raw bytea, raws bytea[], price money, relation regclass)";

const VALUES: &str = "'2026-03-15 10:30:00.123456+00', '{\"2026-07-01 00:00:00+00\"}',
    ROW('2026-03-15 10:30:00+00', '1 day')::moment, '[2026-03-15 10:30:00+00,2026-03-16 10:30:00+00)',
    '[2026-03-15,2026-04-02)', '1 year 2 months 3 days 04:05:06.7', 0.1::float8 + 0.2::float8, 16777217.1, '\\x00ff5c41',
    '{\"\\\\x5c00\"}', 1234567.89, 'samples'";

fn db() -> TestDb {
    let db = TestDb::new();
    db.audited("samples", TABLE);
    db
}

/// What is stored of a row that this session inserts, changes and deletes.
fn stored(db: &TestDb, conn: &mut PgConnection) -> Vec<Value> {
    execute(
        conn,
        &format!("INSERT INTO samples VALUES (1, 'a', {VALUES})"),
    );
    execute(
        conn,
        "UPDATE samples SET note = 'b', at = at + interval '1 hour', span = span * 2, ratio = ratio / 3,
            raw = raw || raw, price = price * 2, days = days + '[2026-04-02,2026-04-05)'",
    );
    execute(conn, "DELETE FROM samples");
    let changes = rows(
        &mut db.auditor(),
        "SELECT op, table_pk, data_after, changed_fields, changed_from FROM audit_changes ORDER BY id DESC LIMIT 3",
    );
    assert_eq!(changes.len(), 3);
    changes
}

/// `probe` is printed differently under `hostile`, and what is stored is not.
fn assert_pinned(hostile: &str, probe: &str) {
    let db = db();
    let mut app = db.app();
    let default = stored(&db, &mut app);
    let usual = value(&mut app, probe);
    execute(&mut app, hostile);
    assert_ne!(
        value(&mut app, probe),
        usual,
        "{hostile} changes nothing: the test shows nothing"
    );
    assert_eq!(stored(&db, &mut app), default, "{hostile}");
}

/// Fails without `SET timezone = 'UTC'` on the capture function.
#[test]
fn c14_quote_all_identifiers_is_pinned() {
    assert_pinned(
        "SET quote_all_identifiers = on",
        "SELECT 'samples'::regclass::text",
    );
}

#[test]
fn c14_timezone_is_pinned() {
    assert_pinned(
        "SET timezone = 'Asia/Kathmandu'",
        "'2026-01-01 00:00+00'::timestamptz::text",
    );
}

/// Fails without `SET datestyle = 'ISO'` on the capture function.
#[test]
fn c14_datestyle_is_pinned() {
    assert_pinned(
        "SET datestyle = 'SQL, DMY'",
        "daterange('2026-03-15', NULL)::text",
    );
    assert_pinned("SET datestyle = 'German'", "'2026-03-15'::date::text");
}

/// Fails without `SET intervalstyle = 'iso_8601'` on the capture function.
#[test]
fn c14_intervalstyle_is_pinned() {
    for style in ["sql_standard", "postgres_verbose"] {
        assert_pinned(
            &format!("SET intervalstyle = '{style}'"),
            "interval '1 day 2 hours'::text",
        );
    }
}

/// Fails without `SET extra_float_digits = 1` on the capture function.
#[test]
fn c14_extra_float_digits_is_pinned() {
    assert_pinned(
        "SET extra_float_digits = 0",
        "(0.1::float8 + 0.2::float8)::text",
    );
    assert_pinned("SET extra_float_digits = -15", "16777217.1::float4::text");
}

/// Fails without `SET bytea_output = 'hex'` on the capture function.
#[test]
fn c14_bytea_output_is_pinned() {
    assert_pinned("SET bytea_output = 'escape'", "'\\x00ff'::bytea::text");
}

/// Fails without `SET lc_monetary = 'C'` on the capture function: shown by the catalog, and by a written row in every
/// locale of the server that prints money in its own way.
#[test]
fn c14_lc_monetary_is_pinned() {
    let db = db();
    let mut app = db.app();
    assert_eq!(
        value(
            &mut app,
            "SELECT count(*) FROM pg_proc p JOIN pg_trigger t ON t.tgfoid = p.oid
             WHERE t.tgrelid = 'samples'::regclass AND 'lc_monetary=C' = ANY (p.proconfig)"
        ),
        json!(2),
        "the row trigger and the TRUNCATE trigger"
    );
    let default = stored(&db, &mut app);
    assert_eq!(default[2]["data_after"]["price"], "$1,234,567.89");
    for locale in rows(
        &mut app,
        "SELECT collcollate AS name FROM pg_collation WHERE collcollate <> '' UNION VALUES ('de_DE.UTF-8'), ('ja_JP.UTF-8')",
    ) {
        let name = locale["name"].as_str().unwrap();
        // Not every collation's name is a locale for money, and the server says so.
        if try_execute(&mut app, &format!("SET lc_monetary = '{name}'")).is_ok() {
            assert_eq!(stored(&db, &mut app), default, "lc_monetary = {name}");
        }
    }
}

/// Fails without the pins on the capture function, which reach the functions that it calls.
#[test]
fn c14_all_settings_are_pinned_for_an_image_made_column_by_column() {
    let db = db();
    let mut app = db.app();
    // The large value makes the row's image take the other way.
    db.create(
        "ALTER TABLE samples ADD COLUMN large text;
         ALTER TABLE samples ALTER COLUMN large SET DEFAULT repeat('x', 1000001)",
    );
    let default = stored(&db, &mut app);
    assert_eq!(
        default[2]["data_after"]["large"]["$threadline"], "omitted",
        "{default:?}"
    );
    execute(
        &mut app,
        "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET intervalstyle = 'sql_standard';
         SET extra_float_digits = -15; SET bytea_output = 'escape'",
    );
    assert_eq!(stored(&db, &mut app), default);
}

/// Fails without `SET timezone`, and without `SET bytea_output`, on the capture function.
#[test]
fn c14_keys_are_pinned() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE keys (at timestamptz, raw bytea, day date, note text, PRIMARY KEY (at, raw, day))",
    );
    db.capture(
        "keys",
        threadline::Definition::new("Key", &["at", "raw", "day"]),
    );
    let mut app = db.app();
    let insert = "INSERT INTO keys VALUES ('2026-03-15 10:30+00', '\\x00ff', '2026-03-15'); DELETE FROM keys";
    execute(&mut app, insert);
    execute(
        &mut app,
        "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET bytea_output = 'escape'",
    );
    execute(&mut app, insert);
    assert_eq!(
        rows(
            &mut db.auditor(),
            "SELECT DISTINCT table_pk, key_hash = hashtextextended(table_pk::text, 0) AS hashed FROM audit_changes"
        ),
        [
            json!({"table_pk": {"at": "2026-03-15T10:30:00+00:00", "raw": "\\x00ff", "day": "2026-03-15"}, "hashed": true})
        ]
    );
}
