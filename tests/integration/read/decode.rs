//! Recorded rows decode as those of any Diesel query.

use std::io::Write as _;

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::data_types::PgInterval;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{self, IsNull, Output, ToSql};
use serde_json::json;
use threadline::{Snapshot, change, prelude::*, recorded};
use threadline_tests::TestDb;

pub mod sql_types {
    #[derive(Debug, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "mood"))]
    pub struct Mood;
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::Mood;

    people (id) {
        id -> BigInt,
        name -> Text,
        email -> Nullable<Text>,
        score -> Double,
        balance -> Numeric,
        avatar -> Nullable<Bytea>,
        tags -> Array<Nullable<Text>>,
        prefs -> Jsonb,
        mood -> Mood,
        born -> Nullable<Date>,
        local_ts -> Nullable<Timestamp>,
        created_at -> Timestamptz,
        vacation -> Nullable<Interval>,
        #[sql_name = "type"]
        kind -> Nullable<Text>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = sql_types::Mood)]
enum Mood {
    Sad,
    Happy,
}

impl ToSql<sql_types::Mood, Pg> for Mood {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(if *self == Self::Sad { b"sad" } else { b"happy" })?;
        Ok(IsNull::No)
    }
}

impl FromSql<sql_types::Mood, Pg> for Mood {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            b"sad" => Ok(Self::Sad),
            b"happy" => Ok(Self::Happy),
            other => Err(format!("no mood: {other:?}").into()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset, Audited)]
#[diesel(table_name = people, treat_none_as_null = true, check_for_backend(Pg))]
#[audited(store_changed_from)]
struct Person {
    id: i64,
    name: String,
    email: Option<String>,
    score: f64,
    balance: BigDecimal,
    avatar: Option<Vec<u8>>,
    tags: Vec<Option<String>>,
    prefs: serde_json::Value,
    mood: Mood,
    born: Option<NaiveDate>,
    local_ts: Option<NaiveDateTime>,
    created_at: DateTime<Utc>,
    vacation: Option<PgInterval>,
    #[diesel(column_name = kind)]
    typ: Option<String>,
}

#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = people)]
struct Contact {
    email: Option<String>,
}

/// Parts of a row, an embedded model and an expression over a column.
#[derive(Debug, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = people, check_for_backend(Pg))]
#[audited(read_only)]
struct Card {
    name: String,
    #[diesel(embed)]
    contact: Contact,
    #[diesel(select_expression = people::email.is_not_null(), select_expression_type = diesel::dsl::IsNotNull<people::email>)]
    reachable: bool,
}

fn ann() -> Person {
    Person {
        id: 42,
        name: "Ann".into(),
        email: Some("a@x.io".into()),
        score: 0.1 + 0.2,
        balance: "12345678901234567890.1234567890".parse().unwrap(),
        avatar: Some(vec![0, 255, 7]),
        tags: vec![Some("a,b".into()), None, Some("q\"uote".into())],
        prefs: json!({"k": [1, 2.50, null], "big": 12345678901234567890_u64}),
        mood: Mood::Happy,
        born: NaiveDate::from_ymd_opt(1999, 12, 31),
        local_ts: NaiveDate::from_ymd_opt(2024, 2, 29)
            .unwrap()
            .and_hms_micro_opt(23, 59, 59, 123_456),
        created_at: "2026-01-02T03:04:05.678901Z".parse().unwrap(),
        vacation: Some(PgInterval::new(1_000_001, 2, 3)),
        typ: Some("t".into()),
    }
}

fn people() -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TYPE mood AS ENUM ('sad', 'happy');
         CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, email text, score float8 NOT NULL, balance numeric NOT NULL,
           avatar bytea, tags text[] NOT NULL, prefs jsonb NOT NULL, mood mood NOT NULL, born date, local_ts timestamp,
           created_at timestamptz NOT NULL, vacation interval, type text)",
    );
    db.capture("people", Person::DEFINITION);
    db
}

#[test]
fn every_type_comes_back_as_it_was_written() {
    let db = people();
    let mut app = db.app();
    let versions = [
        ann(),
        Person {
            score: 1e-310,
            balance: "-0.00".parse().unwrap(),
            mood: Mood::Sad,
            ..ann()
        },
        Person {
            score: f64::INFINITY,
            avatar: Some(vec![]),
            tags: vec![],
            prefs: json!([]),
            ..ann()
        },
        Person {
            email: None,
            avatar: None,
            born: None,
            local_ts: None,
            vacation: None,
            typ: None,
            score: -1.5,
            ..ann()
        },
        Person {
            born: NaiveDate::from_ymd_opt(-43, 3, 15),
            tags: vec![Some(String::new()), Some("NULL".into())],
            ..ann()
        },
    ];
    diesel::insert_into(people::table)
        .values(&versions[0])
        .execute(&mut app)
        .unwrap();
    for version in &versions[1..] {
        diesel::update(people::table.find(42))
            .set(version)
            .execute(&mut app)
            .unwrap();
    }
    let history = Person::history(42)
        .order(change::id)
        .load(&mut db.auditor())
        .unwrap();
    let recorded: Vec<_> = history
        .iter()
        .map(|change| match &change.snapshot {
            Snapshot::After(person) => person.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(recorded, versions);
    let scale = |p: &Person| p.balance.to_string();
    assert_eq!(
        recorded.iter().map(scale).collect::<Vec<_>>(),
        versions.iter().map(scale).collect::<Vec<_>>()
    );
}

#[test]
fn nan_comes_back() {
    let db = people();
    diesel::insert_into(people::table)
        .values(Person {
            score: f64::NAN,
            ..ann()
        })
        .execute(&mut db.app())
        .unwrap();
    let row = Person::as_of(42, diesel::dsl::now)
        .get_result(&mut db.auditor())
        .unwrap()
        .into_row()
        .unwrap();
    assert!(row.score.is_nan());
}

#[test]
fn embedded_models_and_expressions() {
    let db = people();
    let mut app = db.app();
    diesel::insert_into(people::table)
        .values(ann())
        .execute(&mut app)
        .unwrap();
    diesel::update(people::table.find(42))
        .set(people::email.eq(None::<String>))
        .execute(&mut app)
        .unwrap();
    let mut conn = db.auditor();
    let history = Card::history(42).load(&mut conn).unwrap();
    let card = |email: Option<&str>| Card {
        name: "Ann".into(),
        contact: Contact {
            email: email.map(str::to_owned),
        },
        reachable: email.is_some(),
    };
    assert_eq!(history[0].after(), Some(&card(None)));
    assert_eq!(history[1].after(), Some(&card(Some("a@x.io"))));
    let row = Card::as_of(42, history[1].captured_at)
        .get_result(&mut conn)
        .unwrap()
        .into_row();
    assert_eq!(row, Some(card(Some("a@x.io"))));
}

#[test]
fn filters_on_every_kind_of_column() {
    let db = people();
    diesel::insert_into(people::table)
        .values(ann())
        .execute(&mut db.app())
        .unwrap();
    let mut conn = db.auditor();
    let found = Person::history(42)
        .filter(people::mood.eq(Mood::Happy))
        .filter(people::tags.contains(vec![Some("a,b")]))
        .filter(people::balance.gt(BigDecimal::from(1)))
        .filter(people::kind.eq("t"))
        .filter(people::born.lt(NaiveDate::from_ymd_opt(2000, 1, 1)))
        .select((
            recorded(people::mood),
            recorded(people::kind),
            recorded(people::avatar),
        ))
        .load::<(Option<Mood>, Option<String>, Option<Vec<u8>>)>(&mut conn)
        .unwrap();
    assert_eq!(
        found,
        [(Some(Mood::Happy), Some("t".into()), Some(vec![0, 255, 7]))]
    );
}

#[test]
fn sessions_with_other_settings_read_the_same() {
    let db = people();
    diesel::insert_into(people::table)
        .values(ann())
        .execute(&mut db.app())
        .unwrap();
    let mut conn = db.auditor();
    threadline_tests::execute(
        &mut conn,
        "SET timezone = 'Asia/Tokyo'; SET datestyle = 'SQL, DMY'; SET intervalstyle = 'sql_standard'; SET extra_float_digits = -10; SET bytea_output = 'escape'",
    );
    assert_eq!(
        Person::history(42).load(&mut conn).unwrap()[0].after(),
        Some(&ann())
    );
}
