//! Ids of every kind find their rows.

use diesel::prelude::*;
use threadline::{AsOf, prelude::*};
use threadline_tests::{TestDb, execute};
use uuid::Uuid;

diesel::table! { tags (post_id, label) { post_id -> Integer, label -> Text, weight -> Integer, } }
diesel::table! { tokens (id) { id -> Uuid, note -> Nullable<Text>, } }
diesel::table! { pages (slug) { slug -> Text, title -> Text, } }
diesel::table! { visits (at) { at -> Timestamptz, page -> Text, } }
diesel::table! { odd (key) { #[sql_name = "Odd \"Key\""] key -> Integer, value -> Integer, } }

#[derive(Debug, PartialEq, Queryable, Selectable, Insertable, Audited)]
#[diesel(table_name = tags, primary_key(post_id, label))]
struct Tag {
    post_id: i32,
    label: String,
    weight: i32,
}

#[derive(Debug, PartialEq, Queryable, Selectable, Insertable, Audited)]
#[diesel(table_name = tokens)]
struct Token {
    id: Uuid,
    note: Option<String>,
}

#[derive(Debug, PartialEq, Queryable, Selectable, Insertable, Audited)]
#[diesel(table_name = pages, primary_key(slug))]
struct Page {
    slug: String,
    title: String,
}

#[derive(Debug, PartialEq, Queryable, Selectable, Insertable, Audited)]
#[diesel(table_name = visits, primary_key(at))]
struct Visit {
    at: chrono::DateTime<chrono::Utc>,
    page: String,
}

#[derive(Debug, PartialEq, Queryable, Selectable, Insertable, Audited)]
#[diesel(table_name = odd, primary_key(key))]
struct Odd {
    key: i32,
    value: i32,
}

#[test]
fn several_columns() {
    let db = TestDb::new();
    // The table has them in another order than the model.
    db.create("CREATE TABLE tags (weight int NOT NULL, label text, post_id int, PRIMARY KEY (label, post_id))");
    db.capture("tags", Tag::DEFINITION);
    let tag = |post_id, label: &str| Tag {
        post_id,
        label: label.into(),
        weight: 3,
    };
    diesel::insert_into(tags::table)
        .values(vec![tag(1, "it's"), tag(2, "it's"), tag(1, "b")])
        .execute(&mut db.app())
        .unwrap();
    let mut conn = db.auditor();
    let history = Tag::history((1, "it's")).load(&mut conn).unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].after(), Some(&tag(1, "it's")));
    let row = Tag::as_of((2, "it's".to_owned()), diesel::dsl::now)
        .get_result(&mut conn)
        .unwrap()
        .into_row();
    assert_eq!(row, Some(tag(2, "it's")));
    assert_eq!(
        Tag::as_of((2, "b"), diesel::dsl::now)
            .get_result(&mut conn)
            .unwrap(),
        AsOf::NotYetCreated
    );
}

#[test]
fn uuid() {
    let db = TestDb::new();
    db.create("CREATE TABLE tokens (id uuid PRIMARY KEY, note text)");
    db.capture("tokens", Token::DEFINITION);
    let id = Uuid::new_v4();
    diesel::insert_into(tokens::table)
        .values(Token { id, note: None })
        .execute(&mut db.app())
        .unwrap();
    let history = Token::history(id).load(&mut db.auditor()).unwrap();
    assert_eq!(history[0].after(), Some(&Token { id, note: None }));
    assert_eq!(
        Token::history(Uuid::nil()).load(&mut db.auditor()).unwrap(),
        []
    );
}

#[test]
fn text_with_everything_in_it() {
    let db = TestDb::new();
    db.create("CREATE TABLE pages (slug text PRIMARY KEY, title text NOT NULL)");
    db.capture("pages", Page::DEFINITION);
    let mut conn = db.auditor();
    for slug in [
        "it's",
        "\"quoted\"",
        "back\\slash",
        "{\"id\": 1}",
        "line\nbreak",
        "😀",
        "",
        " ",
        "null",
        &"long".repeat(500),
    ] {
        let page = Page {
            slug: slug.into(),
            title: "t".into(),
        };
        diesel::insert_into(pages::table)
            .values(&page)
            .execute(&mut db.app())
            .unwrap();
        let history = Page::history(slug).load(&mut conn).unwrap();
        assert_eq!(
            history.iter().map(|c| c.after()).collect::<Vec<_>>(),
            [Some(&page)],
            "{slug}"
        );
        let row = Page::as_of(slug, diesel::dsl::now)
            .get_result(&mut conn)
            .unwrap()
            .into_row();
        assert_eq!(row, Some(page));
    }
}

#[test]
fn a_timestamp_whatever_the_time_zones() {
    let db = TestDb::new();
    db.create("CREATE TABLE visits (at timestamptz PRIMARY KEY, page text NOT NULL)");
    db.capture("visits", Visit::DEFINITION);
    let visit = Visit {
        at: "2026-03-29T01:30:00.123456Z".parse().unwrap(),
        page: "p".into(),
    };
    let mut app = db.app();
    execute(
        &mut app,
        "SET timezone = 'America/Los_Angeles'; SET datestyle = 'German'",
    );
    diesel::insert_into(visits::table)
        .values(&visit)
        .execute(&mut app)
        .unwrap();
    let mut conn = db.auditor();
    for zone in ["UTC", "Asia/Tokyo", "America/New_York"] {
        execute(&mut conn, &format!("SET timezone = '{zone}'"));
        let history = Visit::history(visit.at).load(&mut conn).unwrap();
        assert_eq!(history[0].after(), Some(&visit), "{zone}");
    }
}

#[test]
fn a_column_with_another_name_in_sql() {
    let db = TestDb::new();
    db.create("CREATE TABLE odd (\"Odd \"\"Key\"\"\" int PRIMARY KEY, value int NOT NULL)");
    db.capture("odd", Odd::DEFINITION);
    diesel::insert_into(odd::table)
        .values(Odd { key: 1, value: 2 })
        .execute(&mut db.app())
        .unwrap();
    let history = Odd::history(1)
        .filter(odd::key.eq(1))
        .load(&mut db.auditor())
        .unwrap();
    assert_eq!(history[0].after(), Some(&Odd { key: 1, value: 2 }));
}

#[test]
fn an_id_may_be_an_expression() {
    let db = TestDb::new();
    db.create("CREATE TABLE pages (slug text PRIMARY KEY, title text NOT NULL)");
    db.capture("pages", Page::DEFINITION);
    execute(&mut db.app(), "INSERT INTO pages VALUES ('ab', 't')");
    let id = diesel::dsl::sql::<diesel::sql_types::Text>("'a' || 'b'");
    assert_eq!(Page::history(id).load(&mut db.auditor()).unwrap().len(), 1);
}
