//! Names and literals against the server's own quoting.

use super::*;

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
