//! C32: no name and no placeholder breaks out of the SQL, and the log never records itself.

use std::cell::RefCell;

use diesel::prelude::*;
use diesel::sql_types::Text;
use proptest::prelude::*;
use serde_json::{Value, json};
use threadline::capture::{
    CapturePlan, Identifier, Literal, Placeholder, PlanError, Policy, Storage, TableName, columns,
};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

const OWN: [&str; 5] = [
    "audit_changes",
    "audit_transactions",
    "audit_actions",
    "audit_commits",
    "audit_tables",
];

#[test]
fn c32_own_tables_are_refused_when_the_plan_is_built() {
    for own in OWN {
        for spelling in [
            own.to_owned(),
            format!("public.{own}"),
            format!("\"public\".\"{own}\""),
        ] {
            let error =
                CapturePlan::for_table(spelling.parse().unwrap(), Policy::default()).unwrap_err();
            assert!(
                matches!(error, PlanError::OwnTable { .. }),
                "{spelling}: {error}"
            );
        }
    }
}

/// A plan can't name them, so its SQL is made to.
#[test]
fn c32_own_tables_are_refused_when_the_migration_runs() {
    let db = TestDb::new();
    let sql = CapturePlan::for_table("victims".parse().unwrap(), Policy::default())
        .unwrap()
        .up_sql(&Storage::default());
    for own in OWN {
        for spelling in [
            format!("\"{own}\""),
            format!("public.{own}"),
            format!("\"test\".public.{}", own.to_uppercase()),
        ] {
            let spelling = spelling.replace("\"test\"", db.name());
            let sql = sql.replace("\"victims\"", &spelling);
            assert!(sql.contains(&format!("to_regclass('{spelling}')")), "{sql}");
            let error = try_execute(&mut db.owner(), &sql).unwrap_err();
            assert!(
                error.contains("is part of the audit log"),
                "{spelling}: {error}"
            );
        }
    }
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_tables"),
        json!(0)
    );
    assert_eq!(
        value(
            &mut db.owner(),
            "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '!threadline%'"
        ),
        json!(0)
    );
}

#[derive(QueryableByName)]
struct Quoted {
    #[diesel(sql_type = Text)]
    literal: String,
    #[diesel(sql_type = Text)]
    ident: String,
}

/// What the server makes of a text.
fn quoted(conn: &mut PgConnection, text: &str) -> Quoted {
    diesel::sql_query("SELECT quote_literal($1) AS literal, quote_ident($1) AS ident")
        .bind::<Text, _>(text)
        .get_result(conn)
        .unwrap()
}

/// Texts of everything that SQL gives a meaning to, and of anything at all but NUL.
fn hostile_text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "'",
        "\"",
        "\\",
        "$$",
        "$threadline$",
        "$threadline_$",
        ":storage",
        ":mask",
        "--",
        "/*",
        "*/",
        ";",
        "\n",
        "\r\n",
        "\t",
        "%",
        "%s",
        "%I",
        "{",
        "}",
        ",",
        "NULL",
        "null",
        "é",
        "😀",
        "\u{202e}",
        " ",
        "E'",
        "U&\"",
        "\\'",
        "''",
        "\"\"",
        ".",
        "select",
        "t",
        "Über",
    ]);
    prop::collection::vec(
        prop_oneof![3 => special.prop_map(str::to_owned), 1 => "[^\\x00]{0,4}"],
        0..8,
    )
    .prop_map(|parts| parts.concat())
}

fn hostile_name() -> impl Strategy<Value = Identifier> {
    hostile_text().prop_filter_map("an identifier", |text| {
        let mut end = text.len().min(63);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Identifier::new(&text[..end]).ok()
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn c32_literals_are_quoted_as_quote_literal_does() {
    let db = TestDb::empty();
    let conn = RefCell::new(db.owner());
    proptest!(config(512), |(text in hostile_text())| {
        let literal = Literal(&text).to_string();
        prop_assert_eq!(literal.trim_start(), quoted(&mut conn.borrow_mut(), &text).literal);
    });
}

#[test]
fn c32_literals_come_back_from_the_server() {
    let db = TestDb::empty();
    let conn = RefCell::new(db.owner());
    for strings in ["on", "off"] {
        execute(
            &mut conn.borrow_mut(),
            &format!(
                "SET escape_string_warning = off; SET standard_conforming_strings = {strings}"
            ),
        );
        proptest!(config(256), |(text in hostile_text())| {
            // After an identifier character, which must not join the literal.
            let sql = format!("SELECT CASE WHEN true THEN{} END::text", Literal(&text));
            prop_assert_eq!(value(&mut conn.borrow_mut(), &sql), Value::from(text));
        });
    }
}

#[test]
fn c32_identifiers_are_quoted_as_quote_ident_does() {
    let db = TestDb::empty();
    let conn = RefCell::new(db.owner());
    proptest!(config(512), |(name in hostile_name())| {
        let ident = quoted(&mut conn.borrow_mut(), name.as_str()).ident;
        // It leaves the quotes away where they make no difference.
        let expected = if ident.starts_with('"') { ident } else { format!("\"{ident}\"") };
        prop_assert_eq!(name.to_string(), expected);
    });
}

#[test]
fn c32_identifiers_come_back_from_the_server() {
    let db = TestDb::empty();
    let conn = RefCell::new(db.owner());
    proptest!(config(256), |(name in hostile_name())| {
        let row = rows(&mut conn.borrow_mut(), &format!("SELECT 1 AS {name}"));
        prop_assert_eq!(row, [json!({ name.as_str(): 1 })]);
    });
}

#[test]
fn c32_names_of_tables_are_read_as_they_are_written() {
    proptest!(config(512), |(schema in hostile_name(), name in hostile_name())| {
        let table = TableName::new(Some(schema), name);
        prop_assert_eq!(table.sql().parse::<TableName>(), Ok(table));
    });
}

/// Installs a plan over such names and captures through it: key `{key}`, masked `{masked}`, excluded `{excluded}`.
fn captures(
    owner: &mut PgConnection,
    table: &Identifier,
    key: &Identifier,
    masked: &Identifier,
    excluded: &Identifier,
    placeholder: &str,
) {
    let name = TableName::new(None, table.clone());
    let policy = Policy {
        mask: columns([masked.as_str()]).unwrap(),
        exclude: columns([excluded.as_str()]).unwrap(),
        placeholder: Placeholder::new(&name, placeholder).unwrap(),
        store_changed_from: true,
        ..Policy::default()
    };
    execute(
        owner,
        &format!(
            "CREATE TABLE {table} ({key} text PRIMARY KEY, {masked} text, {excluded} text, n int)"
        ),
    );
    let plan = CapturePlan::for_table(name, policy).unwrap();
    let earlier = value(owner, "SELECT coalesce(max(id), 0) FROM audit_changes");
    execute(owner, &plan.up_sql(&Storage::default()));
    execute(
        owner,
        &format!(
            "INSERT INTO {table} VALUES ('k', 'canary', 'canary', 1); UPDATE {table} SET {masked} = 'canary 2', n = 2; DELETE FROM {table}"
        ),
    );
    let log = rows(
        owner,
        &format!(
            "SELECT op, table_pk, data_after, changed_from FROM audit_changes WHERE table_name = {} AND id > {earlier} ORDER BY id",
            Literal(table.as_str())
        ),
    );
    let (key, masked) = (key.as_str(), masked.as_str());
    assert_eq!(
        log,
        [
            json!({"op": "insert", "table_pk": {key: "k"}, "data_after": {key: "k", masked: placeholder, "n": 1}, "changed_from": null}),
            json!({"op": "update", "table_pk": {key: "k"}, "data_after": {key: "k", masked: placeholder, "n": 2}, "changed_from": {masked: placeholder, "n": 1}}),
            json!({"op": "delete", "table_pk": {key: "k"}, "data_after": null, "changed_from": {key: "k", masked: placeholder, "n": 2}}),
        ]
    );
    execute(owner, &plan.down_sql(&Storage::default()));
    execute(owner, &format!("DROP TABLE {table}"));
}

#[test]
fn c32_hostile_names_are_captured() {
    let db = TestDb::new();
    let mut owner = db.owner();
    let name = |text: &str| Identifier::new(text).unwrap();
    for table in [
        "it's",
        "quo\"ted",
        "back\\slash",
        "$threadline$",
        "$threadline_$ $threadline$",
        ":storage",
        "two\nlines",
        "naïve 😀",
        "select",
        "100% %s %I",
        "a.b",
        "Mixed Case",
        "'; DROP TABLE audit_changes; --",
        "\"; DROP TABLE audit_changes; --",
        &"é".repeat(31),
    ] {
        captures(
            &mut owner,
            &name(table),
            &name("id"),
            &name("secret"),
            &name("hidden"),
            "[REDACTED]",
        );
        captures(
            &mut owner,
            &name("plain"),
            &name(table),
            &name("secret"),
            &name("hidden"),
            "[REDACTED]",
        );
        captures(
            &mut owner,
            &name("plain"),
            &name("id"),
            &name(table),
            &name("hidden"),
            "[REDACTED]",
        );
        captures(
            &mut owner,
            &name("plain"),
            &name("id"),
            &name("secret"),
            &name(table),
            "[REDACTED]",
        );
    }
    for placeholder in [
        "'",
        "\"",
        "\\",
        "$threadline$",
        ":storage",
        "%s",
        "{\"a\": 1}",
        "\\u0000",
        "'; DROP TABLE audit_changes; --",
        "😀",
    ] {
        captures(
            &mut owner,
            &name("plain"),
            &name("id"),
            &name("secret"),
            &name("hidden"),
            placeholder,
        );
    }
}

#[test]
fn c32_any_names_are_captured() {
    let db = TestDb::new();
    let owner = RefCell::new(db.owner());
    let placeholder = "[^\\p{Cc}]{1,20}";
    let names = (
        hostile_name(),
        hostile_name(),
        hostile_name(),
        hostile_name(),
    );
    proptest!(config(64), |((table, key, masked, excluded) in names, placeholder in placeholder)| {
        let n = Identifier::new("n").unwrap();
        let mut all = vec![&key, &masked, &excluded, &n];
        all.sort();
        all.dedup();
        prop_assume!(all.len() == 4 && !table.as_str().starts_with("audit_"));
        captures(&mut owner.borrow_mut(), &table, &key, &masked, &excluded, &placeholder);
    });
}

/// The row is read again when triggers write in a nest, where a column could be taken for the row.
#[test]
fn c32_columns_named_like_our_aliases_are_captured() {
    let db = TestDb::new();
    for column in [
        "t",
        "o",
        "n",
        "value",
        "source",
        "image",
        "old_row",
        "target",
        "table_id",
        "key_columns",
        "outcome",
        "changed",
    ] {
        db.create(&format!(
            "CREATE TABLE t_{column} (id bigint PRIMARY KEY, \"{column}\" text, counter int, document json);
             CREATE FUNCTION bump_{column}() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN UPDATE t_{column} SET counter = 2 WHERE id = 2 AND counter = 1; RETURN NULL; END';
             CREATE TRIGGER bump AFTER UPDATE ON t_{column} FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION bump_{column}();
             INSERT INTO t_{column} VALUES (1, 'a', 0, '{{}}'), (2, 'b', 0, '{{}}')"
        ));
        db.capture(
            &format!("t_{column}"),
            threadline::Definition::new("T", &["id"]).store_changed_from(),
        );
        execute(&mut db.app(), &format!("UPDATE t_{column} SET counter = 1"));
        let newest = value(
            &mut db.auditor(),
            &format!(
                "SELECT data_after FROM threadline_history('t_{column}', '{{\"id\": 2}}') ORDER BY id DESC LIMIT 1"
            ),
        );
        assert_eq!(
            newest,
            json!({"id": 2, column: "b", "counter": 2, "document": {}}),
            "{column}"
        );
    }
}
