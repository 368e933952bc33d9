use threadline::Definition;
use threadline_tests::{TestDb, execute, offers, rows, value};

/// The writer's session, whose settings all differ from the reader's.
const WRITER: &str = "SET timezone = 'Asia/Tokyo'; SET datestyle = 'German, DMY'; SET intervalstyle = 'sql_standard';
    SET bytea_output = 'escape'; SET extra_float_digits = -5";
const READER: &str =
    "SET timezone = 'America/New_York'; SET datestyle = 'SQL, MDY'; SET bytea_output = 'escape'";

/// A row whose key is the SQL expression `written` has its history under every expression of `asked`, and `stored` is
/// the key in the log.
fn found(setup: &str, key_type: &str, written: &str, stored: &str, asked: &[&str]) {
    let db = TestDb::new();
    db.audited(
        "things",
        &format!("{setup}; CREATE TABLE things (id {key_type} PRIMARY KEY, n integer)"),
    );
    let mut app = db.app();
    execute(&mut app, WRITER);
    execute(
        &mut app,
        &format!("INSERT INTO things VALUES ({written}, 1)"),
    );
    execute(&mut app, "RESET ALL; UPDATE things SET n = 2");

    let mut auditor = db.auditor();
    execute(&mut auditor, READER);
    let keys = rows(&mut auditor, "SELECT DISTINCT table_pk FROM audit_changes");
    assert_eq!(keys, [serde_json::json!({"table_pk": {"id": stored}})]);
    for key in asked {
        let sql = format!(
            "SELECT count(*) FROM threadline_history('things', jsonb_build_object('id', {key}))"
        );
        assert_eq!(value(&mut auditor, &sql), 2, "asked for {key}");
    }
}

/// A table with a key of this type is refused, with the column and the type named, and is left as it was.
fn refused(setup: &str, key_type: &str) {
    let db = TestDb::new();
    // Extensions need a superuser, unless they are trusted.
    execute(&mut db.superuser(), &format!("SELECT; {setup}"));
    db.create(&format!(
        "CREATE TABLE things (id {key_type} PRIMARY KEY, n integer)"
    ));
    let error = db
        .try_capture("things", Definition::new("Thing", &["id"]))
        .unwrap_err()
        .to_string();
    for word in ["key column id", "public.things", "print differently"] {
        assert!(error.contains(word), "{error}");
    }
    let triggers = value(
        &mut db.owner(),
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'things'::regclass",
    );
    assert_eq!(triggers, 0);
}

#[test]
fn c04_integer_beyond_two_to_the_53() {
    let asked = ["9007199254740993::bigint", "'9007199254740993'::text"];
    found("", "bigint", "9007199254740993", "9007199254740993", &asked);
}

#[test]
fn c04_text_with_quotes() {
    let key = r#"E'O\'Brien "the" \\ {1,2}'"#;
    found("", "text", key, r#"O'Brien "the" \ {1,2}"#, &[key]);
}

#[test]
fn c04_uuid() {
    let stored = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let braced = "'{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'";
    found(
        "",
        "uuid",
        braced,
        stored,
        &[braced, &format!("'{stored}'::uuid")],
    );
}

#[test]
fn c04_enum() {
    let setup = "CREATE TYPE color AS ENUM ('red', 'dark \"blue\"')";
    found(
        setup,
        "color",
        r#"'dark "blue"'"#,
        r#"dark "blue""#,
        &[r#"'dark "blue"'::color"#],
    );
}

#[test]
fn c04_domain() {
    let setup = "CREATE DOMAIN article AS bigint CHECK (VALUE > 0)";
    found(setup, "article", "7", "7", &["7", "'7'::article"]);
}

#[test]
fn c04_padded_char() {
    found(
        "",
        "char(4)",
        "'ab'",
        "ab  ",
        &["'ab'", "'ab  '", "'ab'::char(4)"],
    );
}

#[test]
fn c04_date() {
    // 5 April for the reader and for the log; the writer reads day first.
    found(
        "",
        "date",
        "'05.04.2026'",
        "2026-04-05",
        &["'2026-04-05'::date", "'05 Apr 2026'"],
    );
}

#[test]
fn c04_timestamptz_in_another_time_zone() {
    found(
        "",
        "timestamptz",
        "'2026-03-15 19:30:00.5'",
        "2026-03-15T10:30:00.5+00:00",
        &[
            "'2026-03-15 10:30:00.5Z'::timestamptz",
            "'2026-03-15 06:30:00.5-04'",
            "'2026-03-15 12:30:00.500000+02'",
        ],
    );
}

#[test]
fn c04_bytea_in_escape_format() {
    found(
        "",
        "bytea",
        r"'\x00ff5c'",
        r"\x00ff5c",
        &[r"'\x00ff5c'::bytea", r"'\000\377\\'"],
    );
}

#[test]
fn c04_numeric_with_scale() {
    found(
        "",
        "numeric(10,2)",
        "1.5",
        "1.50",
        &["1.5", "1.50", "1.5::numeric(10,2)"],
    );
}

/// The order of key columns comes from the plan, not from the caller's JSON.
#[test]
fn c04_several_columns() {
    let db = TestDb::new();
    db.create("CREATE TABLE lines (region text, day date, n integer, PRIMARY KEY (region, day))");
    db.capture("lines", Definition::new("Line", &["day", "region"]));
    let mut app = db.app();
    execute(&mut app, WRITER);
    execute(
        &mut app,
        "INSERT INTO lines VALUES ('eu', '05.04.2026', 1); UPDATE lines SET n = 2",
    );
    let mut auditor = db.auditor();
    for key in [
        r#"{"region": "eu", "day": "2026-04-05"}"#,
        r#"{"day": "2026-04-05", "region": "eu"}"#,
    ] {
        let sql = format!("SELECT count(*) FROM threadline_history('lines', '{key}')");
        assert_eq!(value(&mut auditor, &sql), 2);
    }
    assert_eq!(
        value(&mut auditor, "SELECT DISTINCT table_pk FROM audit_changes"),
        serde_json::json!({"day": "2026-04-05", "region": "eu"})
    );
    assert_eq!(
        value(&mut auditor, "SELECT key_columns FROM audit_tables"),
        serde_json::json!(["day", "region"])
    );
}

#[test]
fn c04_numeric_without_scale_is_refused() {
    refused("", "numeric");
}

#[test]
fn c04_domain_over_numeric_without_scale_is_refused() {
    refused("CREATE DOMAIN amount AS numeric", "amount");
}

#[test]
fn c04_citext_is_refused() {
    if offers(&mut TestDb::new().superuser(), "CREATE EXTENSION citext") {
        refused("CREATE EXTENSION citext", "citext");
    }
}

#[test]
fn c04_float_is_refused() {
    refused("", "float8");
    refused("", "float4");
}

#[test]
fn c04_interval_is_refused() {
    refused("", "interval");
}

/// Trailing blanks don't count in it, and unlike char(n) it doesn't store them alike.
#[test]
fn c04_char_without_length_is_refused() {
    refused("", "bpchar");
}

#[test]
fn c04_nondeterministic_collation_is_refused() {
    let collation = "CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
    if !offers(&mut TestDb::new().superuser(), collation) {
        return;
    }
    refused(collation, "text COLLATE caseless");
    refused(collation, "varchar(10) COLLATE caseless");
    refused(
        &format!("{collation}; CREATE DOMAIN name_key AS text COLLATE caseless"),
        "name_key",
    );
}
