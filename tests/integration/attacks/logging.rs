//! No value of a redacted column is in the server's log, however much is logged.
//!
//! The secrets come from a file by COPY, and go from table to table, so that no statement of the application has them.

use scratch_postgres::ScratchPostgres;
use std::fmt::Write;
use std::path::Path;
use threadline_tests::{cluster, offers, postgres, skip};

use super::*;

/// In masked and in excluded columns.
const CANARY: &str = "CANARY-7f3a91";

/// In a column that is not redacted. It has to be in the log, or nothing was logged.
const CONTROL: &str = "CONTROL-5c0e44";

/// Whatever a server of this version and build can be asked to log of its statements and their plans.
fn settings(version: u32, libraries: &[&str]) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![
        ("log_statement", "all"),
        ("log_duration", "on"),
        ("log_min_duration_statement", "0"),
        ("log_min_duration_sample", "0"),
        ("log_statement_sample_rate", "1"),
        ("log_transaction_sample_rate", "1"),
        ("log_parameter_max_length", "-1"),
        ("log_parameter_max_length_on_error", "-1"),
        ("log_min_messages", "debug5"),
        ("log_min_error_statement", "debug5"),
        ("log_error_verbosity", "verbose"),
        ("log_parser_stats", "on"),
        ("log_planner_stats", "on"),
        ("log_executor_stats", "on"),
        ("log_lock_waits", "on"),
        ("log_temp_files", "0"),
    ];
    if libraries.contains(&"auto_explain") {
        settings.extend([
            ("auto_explain.log_min_duration", "0"),
            ("auto_explain.log_nested_statements", "on"),
            ("auto_explain.log_analyze", "on"),
            ("auto_explain.log_verbose", "on"),
            ("auto_explain.log_triggers", "on"),
            ("auto_explain.log_settings", "on"),
            ("auto_explain.log_buffers", "on"),
        ]);
        if version >= 16 {
            settings.push(("auto_explain.log_parameter_max_length", "-1"));
        }
    }
    if libraries.contains(&"pg_stat_statements") {
        settings.extend([
            ("pg_stat_statements.track", "all"),
            ("pg_stat_statements.track_utility", "on"),
        ]);
    }
    settings
}

/// The trees that the server works on.
const TREES: [(&str, &str); 5] = [
    ("debug_print_parse", "on"),
    ("debug_print_rewritten", "on"),
    ("debug_print_plan", "on"),
    ("log_statement", "all"),
    ("log_error_verbosity", "verbose"),
];

/// The modules that this build of the server has.
fn libraries() -> Vec<&'static str> {
    let directory = value(
        &mut connect_to(postgres()),
        "SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'",
    );
    let directory = Path::new(directory.as_str().unwrap()).to_owned();
    let mut libraries = vec!["auto_explain", "pg_stat_statements"];
    libraries.retain(|library| {
        let found = ["so", "dylib"]
            .iter()
            .any(|end| directory.join(format!("{library}.{end}")).is_file());
        if !found {
            skip(&format!("this build of the server has no {library}"));
        }
        found
    });
    libraries
}

fn connect_to(postgres: &ScratchPostgres) -> PgConnection {
    PgConnection::establish(&postgres.url("postgres")).unwrap_or_else(|error| panic!("{error}"))
}

/// A value as `debug_print_plan` prints the bytes of a constant.
fn as_bytes(text: &str) -> String {
    let bytes = text.bytes().map(|byte| byte.to_string());
    bytes.collect::<Vec<_>>().join(" ")
}

/// The columns of `source` and of every audited table: one masked, one excluded, one with the control, a document, one
/// that is stored only when it changes, and one whose type is stored as text.
const COLUMNS: &str = "id bigint, note text, masked text, excluded text, doc json, body text, texts jsonb[], masked_doc json";

/// Captured by row, by statement, with values that are inexact, and with a key that two rows may share for a while.
fn tables(db: &TestDb) {
    db.create(&format!(
        "CREATE TABLE source ({COLUMNS});
         CREATE TABLE by_row ({COLUMNS}, PRIMARY KEY (id) DEFERRABLE);
         CREATE TABLE plain (id bigint PRIMARY KEY, note text, masked text, excluded text);
         CREATE TABLE by_statement ({COLUMNS}, PRIMARY KEY (id));
         CREATE TABLE documents (id bigint PRIMARY KEY, note text, masked text, excluded text, doc json);
         CREATE TABLE many_documents (LIKE documents INCLUDING ALL);
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             EXECUTE format('UPDATE %I SET masked = masked || ''!'' WHERE id = $1 + 1', TG_TABLE_NAME) USING NEW.id; RETURN NULL; END $$"
    ));
    let rules = Definition::new("Item", &["id"])
        .store_changed_from()
        .on_change(&["body"])
        .mask(&["masked", "masked_doc"])
        .exclude(&["excluded"]);
    db.capture("by_row", rules.truncate(Truncate::Rows));
    db.capture("by_statement", rules.level(Level::Statement));
    let narrow = Definition::new("Plain", &["id"])
        .store_changed_from()
        .mask(&["masked"])
        .exclude(&["excluded"]);
    db.capture("plain", narrow);
    db.capture("documents", narrow);
    db.capture("many_documents", narrow.level(Level::Statement));
    for table in [
        "by_row",
        "by_statement",
        "plain",
        "documents",
        "many_documents",
    ] {
        db.create(&format!(
            "CREATE TRIGGER touch AFTER UPDATE ON {table} FOR EACH ROW WHEN (NEW.id % 10 = 1 AND NEW.note LIKE '%touch') EXECUTE FUNCTION touch()"
        ));
    }
}

/// Puts rows into `source` by COPY from a file: one that jsonb can't hold, one too large for the log, and then a plain one and its
/// neighbour, whose images are made by expressions that failed before in the same transaction: PL/pgSQL runs these as queries.
fn load(db: &TestDb) {
    let file = db.postgres().dir().join(format!("{}.canary", db.name()));
    let mut lines = String::new();
    let large = "x".repeat(1_100_000);
    for (id, tail, doc) in [
        (4, "", "{\"a\": \"\\\\u0000\"}"),
        (3, &*large, "{}"),
        (1, "", "{}"),
        (2, "", "{}"),
    ] {
        let _ = writeln!(
            lines,
            "{id}\t{CONTROL}\t{CANARY}{tail}\t{CANARY}{tail}\t{doc}\tbody{tail}\t{{}}\t{{\"a\": \"{CANARY}{tail}\"}}"
        );
    }
    std::fs::write(&file, lines).unwrap();
    execute(
        &mut db.superuser(),
        &format!("COPY source FROM '{}'", file.display()),
    );
    db.create("GRANT SELECT ON source TO tl_app");
}

/// Writes the secrets in every way that capture has code for.
fn write(db: &TestDb) {
    let mut app = db.app();
    // What the tests look for: a query within a function, whose constant is a value.
    execute(
        &mut app,
        "DO $$ DECLARE v text := (SELECT note FROM source WHERE id = 1); BEGIN PERFORM count(*) FROM source WHERE note = v; END $$",
    );
    for (table, columns) in [
        ("by_row", "*"),
        ("by_statement", "*"),
        ("plain", "id, note, masked, excluded"),
        ("documents", "id, note, masked, excluded, doc"),
        ("many_documents", "id, note, masked, excluded, doc"),
    ] {
        let narrow = columns != "*";
        for sql in [
            format!("INSERT INTO {table} SELECT {columns} FROM source"),
            format!("UPDATE {table} SET note = note || '!' WHERE id <= 2"),
            format!(
                "UPDATE {table} SET masked = masked || '2', excluded = excluded || '2' WHERE id = 1"
            ),
            format!("UPDATE {table} SET note = note || '!', masked = excluded"),
            // Rows are checked again.
            format!("UPDATE {table} SET note = 'touch' WHERE id <= 2"),
            format!(
                "DO $$ BEGIN UPDATE {table} SET note = note || '?' WHERE id = 2; UPDATE {table} SET note = note || '?' WHERE id = 2; END $$"
            ),
            format!("UPDATE {table} SET id = id + 10"),
            format!("UPDATE {table} SET id = id + 10, note = 'touch' WHERE id IN (11, 12)"),
            format!("DELETE FROM {table} WHERE id = 13"),
            format!("INSERT INTO {table} SELECT {columns} FROM source WHERE id = 1"),
            format!(
                "UPDATE {table} SET note = s.note, masked = s.masked || s.masked FROM source s WHERE s.id = {table}.id"
            ),
        ] {
            execute(&mut app, &sql);
        }
        if !narrow {
            for sql in [
                format!("UPDATE {table} SET body = 'other', doc = '[]' WHERE id > 10"),
                format!(
                    "UPDATE {table} SET texts = ARRAY['1'::jsonb], masked_doc = '[]' WHERE id > 10"
                ),
            ] {
                execute(&mut app, &sql);
            }
        }
        // What is refused, in the middle of capture and before it. Only the statements are the application's own.
        for refused in [
            format!("UPDATE {table} SET masked = masked || masked"),
            format!("DELETE FROM {table}"),
        ] {
            execute(
                &mut app,
                "BEGIN; SELECT set_config('threadline.meta', '[]', true)",
            );
            try_execute(&mut app, &refused).expect_err(&refused);
            execute(&mut app, "ROLLBACK");
        }
        execute(&mut app, &format!("TRUNCATE {table}"));
    }
}

/// The lines of the log with a trace of the canary, with what came before each.
fn traces(log: &str) -> Vec<String> {
    let (text, bytes) = (CANARY.to_lowercase(), as_bytes(CANARY));
    let mut found = Vec::new();
    let mut context = "";
    for line in log.lines() {
        if line.contains("CONTEXT:") || line.contains("Query Text:") || line.contains("STATEMENT:")
        {
            context = line;
        }
        // A constant is printed with more bytes than a line has, so that its bytes are looked for without the brackets.
        if line.to_lowercase().contains(&text) || line.contains(&bytes) {
            let cut = |line: &str| line.trim().chars().take(160).collect::<String>();
            found.push(format!("{} … after {}", cut(line), cut(context)));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The settings are those of the whole server, and so of the owner's trigger functions too.
fn logged(libraries: &[&str], settings: &[(&str, &str)]) {
    let builder = ScratchPostgres::builder()
        .setting("autovacuum", "off")
        .setting("shared_preload_libraries", &libraries.join(","));
    let builder = settings.iter().fold(builder, |builder, (name, value)| {
        builder.setting(name, value)
    });
    let postgres = cluster(builder);
    let db = TestDb::on(&postgres);
    tables(&db);
    load(&db);
    write(&db);

    let log = postgres.log();
    let controls = log.contains(CONTROL) || log.contains(&as_bytes(CONTROL));
    assert!(
        controls,
        "the control is not in the log: nested statements are not logged"
    );
    let found = traces(&log);
    assert!(
        found.is_empty(),
        "{} lines with the canary:\n{}",
        found.len(),
        found[..found.len().min(30)].join("\n")
    );
    let mut superuser = db.superuser();
    if libraries.contains(&"pg_stat_statements")
        && offers(&mut superuser, "CREATE EXTENSION pg_stat_statements")
    {
        let kept = rows(&mut superuser, "SELECT query FROM pg_stat_statements");
        assert!(kept.len() > 10, "{kept:?}");
        assert!(!json!(kept).to_string().contains(CANARY), "{kept:#?}");
    }
}

#[test]
fn plans_and_statements() {
    let libraries = libraries();
    if libraries.contains(&"auto_explain") {
        logged(&libraries, &settings(postgres().version(), &libraries));
    }
}

#[test]
fn trees() {
    logged(&[], &TREES);
}

#[test]
fn traces_are_found() {
    assert_eq!(as_bytes("CAN"), "67 65 78");
    let plan = format!(":constvalue 8 [ 60 0 0 0 {} ]", as_bytes(CANARY));
    for line in [&plan, "Output: 'canary-7F3A91'::text"] {
        assert_eq!(traces(&format!("LOG:\n{line}\nLOG:")).len(), 1, "{line}");
    }
    assert!(traces(CONTROL).is_empty());
}
