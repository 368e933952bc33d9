//! What is refused, and what the refusals say: never today's data in silence.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{count_star, sql};
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{Bool, Text};
use threadline::{AsOfError, Definition, QueryAsOf, as_of_raw};
use threadline_tests::{TestDb, execute};

use super::clock;

diesel::table! { users (id) { id -> BigInt, name -> Text, } }
diesel::table! { plain (id) { id -> BigInt, name -> Text, } }
diesel::table! { named (id) { id -> BigInt, name -> Text, } }
diesel::table! { public.audited (id) { id -> BigInt, name -> Text, } }
diesel::table! { parts (id) { id -> BigInt, name -> Text, } }
diesel::allow_tables_to_appear_in_same_query!(users, plain);

diesel::define_sql_function! {
    /// Reads a table.
    fn name_of(id: diesel::sql_types::BigInt) -> Text;
}
diesel::define_sql_function! {
    /// Reads none.
    fn shout(name: Text) -> Text;
}

fn db() -> (TestDb, DateTime<Utc>) {
    let db = TestDb::new();
    db.audited(
        "users",
        "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL)",
    );
    db.create(
        "CREATE TABLE plain (LIKE users INCLUDING ALL);
         CREATE VIEW named AS SELECT * FROM users;
         GRANT SELECT ON named TO tl_auditor;
         CREATE FUNCTION name_of(of bigint) RETURNS text LANGUAGE sql STABLE AS 'SELECT name FROM users WHERE id = of';
         CREATE FUNCTION shout(name text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(name)'",
    );
    execute(
        &mut db.app(),
        "INSERT INTO users VALUES (1, 'then'); INSERT INTO plain VALUES (1, 'plain')",
    );
    let moment = clock(&mut db.app());
    execute(&mut db.app(), "UPDATE users SET name = 'now'");
    (db, moment)
}

/// What the server, or the library, says instead of rows.
fn refusal<T: std::fmt::Debug>(outcome: QueryResult<T>) -> String {
    match outcome.unwrap_err() {
        Error::DatabaseError(_, info) => info.message().to_owned(),
        Error::QueryBuilderError(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[derive(Debug, QueryableByName)]
struct Nothing {}

fn raw(db: &TestDb, moment: DateTime<Utc>, text: &str) -> String {
    refusal(as_of_raw(diesel::sql_query(text), moment).load::<Nothing>(&mut db.auditor()))
}

#[test]
fn a_table_that_is_not_audited() {
    let (db, moment) = db();
    let alone = plain::table
        .as_of(moment)
        .load::<(i64, String)>(&mut db.auditor());
    let said = refusal(alone);
    assert!(
        said.contains("table plain is not audited") && said.contains("threadline generate"),
        "{said}"
    );
    let joined = users::table
        .filter(users::id.eq_any(plain::table.select(plain::id)))
        .count()
        .as_of(moment)
        .get_result::<i64>(&mut db.auditor());
    assert!(refusal(joined).contains("table plain is not audited"));
}

#[test]
fn a_view() {
    let (db, moment) = db();
    let said = refusal(
        named::table
            .as_of(moment)
            .load::<(i64, String)>(&mut db.auditor()),
    );
    assert!(
        said.contains("named is a view") && said.contains("Query the tables that it reads"),
        "{said}"
    );
}

#[test]
fn a_partition() {
    let (db, moment) = db();
    db.create(
        "CREATE TABLE wholes (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id);
         CREATE TABLE parts PARTITION OF wholes FOR VALUES FROM (1) TO (9)",
    );
    db.capture("wholes", Definition::new("Whole", &["id"]));
    let said = refusal(
        parts::table
            .as_of(moment)
            .load::<(i64, String)>(&mut db.auditor()),
    );
    assert!(
        said.contains("parts is a partition") && said.contains("wholes"),
        "{said}"
    );
}

#[test]
fn a_time_before_the_horizon() {
    let (db, moment) = db();
    let ask = |moment| {
        refusal(
            users::table
                .as_of(moment)
                .load::<(i64, String)>(&mut db.auditor()),
        )
    };
    let said = ask(moment - TimeDelta::days(1));
    assert!(
        said.contains("table users is known as a whole since") && said.contains("Model::as_of"),
        "{said}"
    );
    // A table that had rows when its capture began has no such time yet.
    db.capture("plain", Definition::new("Plain", &["id"]));
    let said = refusal(
        plain::table
            .as_of(Utc::now())
            .load::<(i64, String)>(&mut db.auditor()),
    );
    assert!(
        said.contains("table plain is not known as a whole"),
        "{said}"
    );
}

#[test]
fn a_time_after_capture_was_off() {
    let (db, moment) = db();
    execute(
        &mut db.superuser(),
        "BEGIN; SET LOCAL threadline.capture = 'off'; UPDATE users SET name = 'unseen'; COMMIT",
    );
    let after = clock(&mut db.app());
    for moment in [moment, after] {
        let said = refusal(
            users::table
                .as_of(moment)
                .load::<(i64, String)>(&mut db.auditor()),
        );
        assert!(
            said.contains("table users is not known as a whole"),
            "{said}"
        );
    }
    // Where a later horizon is known, what lies before it stays unknown, gaps included.
    execute(
        &mut db.superuser(),
        "UPDATE audit_tables SET horizon = installed_at",
    );
    let said = refusal(
        users::table
            .as_of(after)
            .load::<(i64, String)>(&mut db.auditor()),
    );
    assert!(
        said.contains("table users was not captured during"),
        "{said}"
    );
    assert_eq!(
        users::table
            .select(users::name)
            .as_of(moment)
            .load::<String>(&mut db.auditor())
            .unwrap(),
        ["then"]
    );
}

#[test]
fn no_moment_at_all() {
    let (db, _) = db();
    let said = refusal(
        users::table
            .as_of(sql("NULL"))
            .load::<(i64, String)>(&mut db.auditor()),
    );
    assert!(said.contains("as of which moment"), "{said}");
}

#[test]
fn functions_that_could_read_tables() {
    let (db, moment) = db();
    let read = users::table.select(name_of(users::id)).as_of(moment);
    let said = refusal(read.load::<String>(&mut db.auditor()));
    assert!(
        said.contains("name_of(bigint)") && said.contains("IMMUTABLE"),
        "{said}"
    );
    let shouted = users::table.select(shout(users::name)).as_of(moment);
    assert_eq!(shouted.load::<String>(&mut db.auditor()).unwrap(), ["THEN"]);
    let hidden = "SELECT (xpath('//name/text()', query_to_xml('SELECT name FROM users', true, true, '')))[1] FROM users";
    assert!(raw(&db, moment, hidden).contains("query_to_xml"));
}

#[test]
fn grouping_by_the_primary_key_alone() {
    let (db, moment) = db();
    let grouped = users::table
        .group_by(users::id)
        .select((users::id, users::name, count_star()));
    assert_eq!(
        grouped
            .load::<(i64, String, i64)>(&mut db.app())
            .unwrap()
            .len(),
        1
    );
    let Error::QueryBuilderError(error) = grouped
        .as_of(moment)
        .load::<(i64, String, i64)>(&mut db.auditor())
        .unwrap_err()
    else {
        panic!("it was asked");
    };
    let columns = vec!["users.name".to_owned()];
    assert_eq!(
        error.downcast_ref(),
        Some(&AsOfError::GroupedByKey { columns })
    );
    let whole = users::table.group_by((users::id, users::name)).select((
        users::id,
        users::name,
        count_star(),
    ));
    assert_eq!(
        whole
            .as_of(moment)
            .load::<(i64, String, i64)>(&mut db.auditor())
            .unwrap(),
        [(1, "then".to_owned(), 1)]
    );
}

#[test]
fn whatever_is_not_recognised_in_a_from() {
    let (db, moment) = db();
    for (text, said) in [
        ("SELECT * FROM users, plain", "a comma"),
        ("SELECT * FROM (users CROSS JOIN users u), plain", "a comma"),
        ("SELECT (SELECT count(*) FROM users a, plain b)", "a comma"),
        ("SELECT * FROM name_of(1)", "the function name_of"),
        (
            "SELECT * FROM users JOIN LATERAL unnest(ARRAY[1]) n ON true",
            "the function unnest",
        ),
        ("SELECT * FROM ROWS FROM (name_of(1))", "ROWS FROM"),
        ("SELECT * FROM ONLY users", "ONLY"),
        (
            "SELECT * FROM users TABLESAMPLE SYSTEM (100)",
            "TABLESAMPLE",
        ),
        ("SELECT * FROM users *", "goes on"),
        ("TABLE users", "TABLE"),
        ("SELECT * FROM (TABLE users) u", "TABLE"),
        ("SELECT * INTO copied FROM users", "INTO"),
        ("INSERT INTO users VALUES (7, 'x') RETURNING id", "INSERT"),
        (
            "WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone",
            "no SELECT",
        ),
        ("SELECT * FROM users; DELETE FROM users", "`;`"),
        (
            "SELECT 1) x; DELETE FROM users; SELECT * FROM (SELECT 2",
            "`)`",
        ),
        ("SELECT 1", "reads no table"),
        ("SELECT * FROM U&\"us\\0065rs\"", "U&"),
        (
            "SELECT 'a\\' FROM users WHERE name = ' FROM plain '",
            "backslash",
        ),
        ("SELECT * FROM users WHERE name = 'open", "without an end"),
    ] {
        let refused = raw(&db, moment, text);
        assert!(refused.contains(said), "{text}: {refused}");
    }
    // Fragments in typed queries are read in the same way.
    let fragment = users::table
        .filter(sql::<Bool>("EXISTS (SELECT 1 FROM plain, users)"))
        .count();
    assert!(
        refusal(fragment.as_of(moment).get_result::<i64>(&mut db.auditor())).contains("a comma")
    );
    let hidden = users::table
        .filter(sql::<Text>("(SELECT name FROM plain LIMIT 1)").eq("plain"))
        .count();
    assert!(
        refusal(hidden.as_of(moment).get_result::<i64>(&mut db.auditor()))
            .contains("plain is not audited")
    );
}

#[test]
fn a_query_as_of_a_moment_inside_of_another() {
    use diesel::pg::Pg;
    use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

    #[derive(QueryId)]
    struct Around<Q>(Q);
    impl<Q: Query> Query for Around<Q> {
        type SqlType = Q::SqlType;
    }
    impl<Q> RunQueryDsl<PgConnection> for Around<Q> {}
    impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Around<Q> {
        fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
            out.push_sql("SELECT * FROM (");
            self.0.walk_ast(out.reborrow())?;
            out.push_sql(") q");
            Ok(())
        }
    }

    let (db, moment) = db();
    let rows = Around(users::table.as_of(moment)).load::<(i64, String)>(&mut db.auditor());
    assert_eq!(rows.unwrap(), [(1, "then".to_owned())]);
    // The names of its tables have to be changed, for which there is no place.
    let said =
        refusal(Around(audited::table.as_of(moment)).load::<(i64, String)>(&mut db.auditor()));
    assert!(said.contains("can only be loaded by itself"), "{said}");
}
