//! Fields that a filter names: what is known of columns that were there once.

use threadline::{ActorRef, Scope};

use super::*;

fn asked(db: &TestDb, filter: TimelineFilter, field: &str) -> Result<usize, String> {
    timeline(filter.changed_field(field))
        .get_result(&mut db.auditor())
        .map(|page| page.entries.len())
        .map_err(|error| error.to_string())
}

fn of(table: &str) -> TimelineFilter {
    TimelineFilter::new().table(table)
}

fn captured_again(db: &TestDb) {
    let definition = threadline::Definition::new("Model", &["id"]).store_changed_from();
    db.capture("items", definition);
}

#[test]
fn an_unknown_one_is_an_error() {
    let db = items(2);
    db.audited(
        "notes",
        "CREATE TABLE notes (id bigint PRIMARY KEY, body text)",
    );
    execute(&mut db.app(), "UPDATE items SET name = 'm'");
    for (filter, field, of) in [
        (TimelineFilter::new(), "nmae", ""),
        (
            TimelineFilter::new().schema("public"),
            "nmae",
            " called public.*",
        ),
        (of("items"), "nmae", " called items"),
        (of("items"), "body", " called items"),
        (of("public.items"), "Name", " called public.items"),
        (of("items").key([("id", 1)]), "nmae", " called items"),
        (
            TimelineFilter::new().actor(ActorRef::user(1).unwrap()),
            "nmae",
            "",
        ),
    ] {
        let refused = asked(&db, filter, field).unwrap_err();
        assert_eq!(
            refused,
            format!("threadline: no audited table{of} has or had a column called {field}")
        );
    }
    let scoped = timeline(of("items").changed_field("nmae")).scope(Scope::field("name", "m"));
    assert!(scoped.get_result(&mut db.auditor()).is_err());
    let wrong_table = asked(&db, of("itmes"), "name").unwrap_err();
    assert!(
        wrong_table.contains("no audited table is called itmes"),
        "{wrong_table}"
    );

    assert_eq!(asked(&db, of("items"), "name"), Ok(2));
    assert_eq!(asked(&db, TimelineFilter::new(), "name"), Ok(2));
    assert_eq!(asked(&db, TimelineFilter::new(), "body"), Ok(0));
    assert_eq!(asked(&db, of("items"), "id"), Ok(0));
}

/// Of a log without tables, nobody knows what they will have.
#[test]
fn without_tables_every_one_is_known() {
    assert_eq!(asked(&TestDb::new(), TimelineFilter::new(), "name"), Ok(0));
}

#[test]
fn one_of_a_column_that_was_renamed_or_dropped_is_known() {
    let db = items(1);
    execute(&mut db.app(), "UPDATE items SET name = 'm'");
    execute(&mut db.owner(), "ALTER TABLE items RENAME name TO title");
    execute(&mut db.app(), "UPDATE items SET title = 'l'");
    let known = |fields: &[(&str, usize)]| {
        for (field, changes) in fields {
            assert_eq!(asked(&db, of("items"), field), Ok(*changes), "{field}");
        }
    };
    known(&[("name", 1), ("title", 1)]);
    captured_again(&db);
    known(&[("name", 1), ("title", 1)]);
    assert!(asked(&db, of("items"), "nmae").is_err());
    execute(&mut db.owner(), "ALTER TABLE items DROP title");
    known(&[("name", 1), ("title", 1)]);
    captured_again(&db);
    known(&[("name", 1), ("title", 1)]);
    assert!(asked(&db, of("items"), "nmae").is_err());
}

/// Added, written to and dropped, while nobody looked at the table.
#[test]
fn one_that_came_and_went_unnoticed_is_known() {
    let db = items(1);
    execute(&mut db.owner(), "ALTER TABLE items ADD size int");
    execute(&mut db.app(), "UPDATE items SET size = 1");
    execute(&mut db.owner(), "ALTER TABLE items DROP size");
    // The change that has it is not among the newest.
    for _ in 0..15 {
        execute(&mut db.app(), "UPDATE items SET name = name || 'x'");
    }
    assert_eq!(asked(&db, of("items"), "size"), Ok(1));
    captured_again(&db);
    assert_eq!(asked(&db, of("items"), "size"), Ok(1));
}

#[test]
fn one_that_had_yet_another_name_is_known() {
    let db = items(1);
    execute(&mut db.owner(), "ALTER TABLE items ADD size int");
    execute(&mut db.app(), "UPDATE items SET size = 1");
    execute(&mut db.owner(), "ALTER TABLE items RENAME size TO width");
    assert_eq!(asked(&db, of("items"), "size"), Ok(1));
    captured_again(&db);
    assert!(asked(&db, of("items"), "nmae").is_err());
    for _ in 0..15 {
        execute(&mut db.app(), "UPDATE items SET name = name || 'x'");
    }
    assert_eq!(asked(&db, of("items"), "size"), Ok(1));
}

#[test]
fn one_of_a_table_that_is_gone_or_another_is_known() {
    let db = items(1);
    execute(&mut db.owner(), "ALTER TABLE items ADD size int");
    execute(&mut db.app(), "UPDATE items SET size = 1");
    execute(&mut db.owner(), "DROP TABLE items");
    for _ in 0..2 {
        assert_eq!(asked(&db, of("items"), "size"), Ok(1));
        execute(
            &mut db.owner(),
            "CREATE TABLE IF NOT EXISTS items (id bigint PRIMARY KEY)",
        );
    }
}
