//! What the functions of the log name, by reading their source: a name that PostgreSQL looks up by `search_path` when it
//! compiles a function may be somebody else's object.

use super::*;

on_both_kinds!(
    declared_types_are_qualified,
    argument_and_result_types_are_ours,
    definer_functions_pin_their_path,
    no_literal_depends_on_standard_conforming_strings,
    public_executes_what_is_listed,
);

/// The functions that PUBLIC may execute.
const PUBLIC: [&str; 0] = [];

/// Types that are keywords, which PostgreSQL looks up in `pg_catalog` alone.
const KEYWORDS: [&str; 20] = [
    "bigint",
    "bit",
    "bit varying",
    "boolean",
    "char",
    "character",
    "character varying",
    "dec",
    "decimal",
    "double precision",
    "float",
    "int",
    "integer",
    "interval",
    "nchar",
    "numeric",
    "real",
    "smallint",
    "time",
    "timestamp",
];

/// A function of the log.
struct Function {
    name: String,
    language: String,
    pinned: bool,
    source: String,
}

/// All functions of the log and of the tables that it captures.
fn functions(db: &TestDb) -> Vec<Function> {
    audited(db);
    let sql = "SELECT p.oid::regprocedure::text AS name, l.lanname AS language, p.prosrc AS source,
                   coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false) AS pinned
               FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
               WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'threadline%'";
    let functions: Vec<_> = rows(&mut db.superuser(), sql)
        .iter()
        .map(|row| Function {
            name: row["name"].as_str().unwrap().to_owned(),
            language: row["language"].as_str().unwrap().to_owned(),
            pinned: row["pinned"].as_bool().unwrap(),
            source: row["source"].as_str().unwrap().to_owned(),
        })
        .collect();
    assert!(functions.len() > 60, "{} functions", functions.len());
    let captures = functions
        .iter()
        .filter(|f| f.name.contains("threadline_capture_") && !f.name.contains("_v1"));
    assert_eq!(captures.count(), 2);
    functions
}

/// SQL without its comments and literals, and the literals, each with what stands before its quote.
fn split_literals(source: &str) -> (String, Vec<(char, String)>) {
    let (mut code, mut literals) = (String::new(), Vec::new());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("--") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if next == '"' {
            let end = rest[1..].find('"').expect("a quoted name ends") + 2;
            code.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if next == '\'' {
            let before = code.chars().next_back().unwrap_or(' ');
            let before = if code.chars().rev().nth(1).is_some_and(char::is_alphanumeric) {
                ' '
            } else {
                before
            };
            let mut literal = String::new();
            rest = &rest[1..];
            loop {
                let end = rest.find('\'').expect("a literal ends");
                literal.push_str(&rest[..end]);
                let escaped = before == 'E'
                    && literal.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1;
                rest = &rest[end + 1..];
                if !escaped && !rest.starts_with('\'') {
                    break;
                }
                literal.push('\'');
                rest = rest.strip_prefix('\'').filter(|_| !escaped).unwrap_or(rest);
            }
            code.push_str("''");
            literals.push((before, literal));
        } else {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    (code, literals)
}

/// The names and types that the DECLARE sections of a plpgsql body declare.
fn declarations(source: &str) -> Vec<(String, String)> {
    let (code, _) = split_literals(source);
    let mut found = Vec::new();
    let mut declares = false;
    for statement in code.split(';') {
        let mut words: Vec<_> = statement.split_whitespace().collect();
        if let Some(at) = words.iter().rposition(|word| *word == "DECLARE") {
            declares = true;
            words.drain(..=at);
        }
        declares &= !words.contains(&"BEGIN");
        if !declares || words.is_empty() {
            continue;
        }
        let name = words.remove(0).to_owned();
        let type_name: Vec<_> = words
            .into_iter()
            .filter(|word| *word != "CONSTANT")
            .take_while(|word| ![":=", "=", "DEFAULT", "NOT", "COLLATE"].contains(word))
            .collect();
        found.push((name, type_name.join(" ").to_lowercase()));
    }
    found
}

/// Whether a type is found without `search_path`.
fn is_qualified(type_name: &str) -> bool {
    let base = type_name
        .split(['[', '('])
        .next()
        .unwrap_or_default()
        .trim();
    KEYWORDS.contains(&base)
        || ["pg_catalog.", "public."]
            .iter()
            .any(|schema| base.starts_with(schema))
}

#[test]
fn the_reader_of_sources_reads() {
    let source = "-- DECLARE nothing text;
        #variable_conflict use_column
        DECLARE a CONSTANT text := 'x; y ''\\z'; b bigint[] = 1; c pg_catalog.text[] := E'\\'' || '\\d'; d record; BEGIN
        DECLARE e double precision DEFAULT 1; BEGIN f := 'BEGIN'; END; END";
    let declared = declarations(source);
    let declared: Vec<_> = declared
        .iter()
        .map(|(name, kind)| format!("{name} {kind}"))
        .collect();
    assert_eq!(
        declared,
        [
            "a text",
            "b bigint[]",
            "c pg_catalog.text[]",
            "d record",
            "e double precision"
        ]
    );
    let literals: Vec<_> = split_literals(source).1;
    assert_eq!(literals[0], (' ', "x; y '\\z".to_owned()));
    assert_eq!(literals[1], ('E', "\\'".to_owned()));
    assert_eq!(literals[2], (' ', "\\d".to_owned()));
    assert!(
        [
            "integer",
            "bigint[]",
            "pg_catalog.text",
            "public.audit_tables"
        ]
        .iter()
        .all(|name| is_qualified(name))
    );
    assert!(
        !["text", "text[]", "record", "refcursor", "uuid"]
            .iter()
            .any(|name| is_qualified(name))
    );
}

/// plpgsql resolves them by the path of the call that compiles the function, and keeps them for the session.
fn declared_types_are_qualified(db: &TestDb) {
    let mut read = 0;
    let mut unqualified = Vec::new();
    for function in functions(db) {
        if function.language != "plpgsql" || function.pinned {
            continue;
        }
        for (name, type_name) in declarations(&function.source) {
            read += 1;
            if !is_qualified(&type_name) {
                unqualified.push(format!("{}: {name} {type_name}", function.name));
            }
        }
    }
    assert!(read > 40, "{read} declarations");
    assert_eq!(unqualified, [] as [&str; 0]);
}

/// A function that takes or returns somebody else's type runs its casts and checks.
fn argument_and_result_types_are_ours(db: &TestDb) {
    audited(db);
    let foreign = rows(
        &mut db.superuser(),
        "SELECT p.oid::regprocedure AS function, t.oid::regtype AS type FROM pg_proc p
         CROSS JOIN LATERAL unnest(p.proargtypes::oid[] || coalesce(p.proallargtypes, '{}') || p.prorettype) a(oid)
         JOIN pg_type t ON t.oid = a.oid
         WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'threadline%'
           AND t.typnamespace <> 'pg_catalog'::regnamespace
           AND NOT (t.typnamespace = 'public'::regnamespace AND ltrim(t.typname, '_') LIKE 'audit\\_%')",
    );
    assert_eq!(foreign, [] as [Value; 0]);
}

fn definer_functions_pin_their_path(db: &TestDb) {
    audited(db);
    let definers = rows(
        &mut db.superuser(),
        "SELECT p.oid::regprocedure AS function, p.proconfig AS config,
             coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false) AS pinned
         FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef",
    );
    assert!(definers.len() > 4, "{definers:?}");
    let unpinned: Vec<_> = definers.iter().filter(|f| f["pinned"] == false).collect();
    assert_eq!(unpinned, [] as [&Value; 0]);
}

/// With `standard_conforming_strings = off`, a backslash in a plain literal is an escape.
fn no_literal_depends_on_standard_conforming_strings(db: &TestDb) {
    let mut found = Vec::new();
    for function in functions(db) {
        for (before, literal) in split_literals(&function.source).1 {
            if before != 'E' && literal.contains('\\') {
                found.push(format!("{}: '{literal}'", function.name));
            }
        }
    }
    assert_eq!(found, [] as [&str; 0]);
}

fn public_executes_what_is_listed(db: &TestDb) {
    audited(db);
    let executable = value(
        &mut db.superuser(),
        "SELECT coalesce(array_agg(p.oid::regprocedure::text ORDER BY p.oid::regprocedure::text COLLATE \"C\"), '{}') FROM pg_proc p
         CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'threadline%' AND a.grantee = 0",
    );
    assert!(
        executable == json!(PUBLIC),
        "PUBLIC may execute {executable:#}"
    );
}
