//! The work: statements as Diesel runs them, and how to make them up.

use bigdecimal::BigDecimal;
use chrono::DateTime;
use diesel::prelude::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{Item, KEYS, items};

#[derive(Debug, Clone)]
pub enum Work {
    Statement(Statement),
    Savepoint { work: Vec<Work>, keep: bool },
}

#[derive(Debug, Clone)]
pub enum Statement {
    Insert(Item),
    Upsert(Item),
    Update(Rows, Edit),
    Delete(Rows),
    Truncate,
}

/// Which rows.
#[derive(Debug, Clone, Copy)]
pub enum Rows {
    One(i64),
    UpTo(i64),
    All,
}

/// What an UPDATE sets.
#[derive(Debug, Clone)]
pub struct Edit {
    pub id: Option<i64>,
    at: Option<Option<DateTime<chrono::Utc>>>,
    done: Option<bool>,
    extra: Option<Option<Value>>,
    label: Option<String>,
    price: Option<Option<BigDecimal>>,
}

impl Rows {
    pub fn has(self, key: i64) -> bool {
        match self {
            Self::One(one) => key == one,
            Self::UpTo(last) => key <= last,
            Self::All => true,
        }
    }
}

impl Edit {
    pub fn apply(&self, row: Item) -> Item {
        Item {
            id: self.id.unwrap_or(row.id),
            at: self.at.unwrap_or(row.at),
            done: self.done.unwrap_or(row.done),
            extra: self.extra.clone().unwrap_or(row.extra),
            label: self.label.clone().unwrap_or(row.label),
            price: self.price.clone().unwrap_or(row.price),
        }
    }

    fn is_empty(&self) -> bool {
        self.id.is_none()
            && self.at.is_none()
            && self.done.is_none()
            && self.extra.is_none()
            && self.label.is_none()
            && self.price.is_none()
    }
}

impl Statement {
    pub fn execute(&self, conn: &mut PgConnection) -> QueryResult<usize> {
        match self {
            Self::Insert(new) => diesel::insert_into(items::table).values(new).execute(conn),
            Self::Upsert(new) => diesel::insert_into(items::table)
                .values(new)
                .on_conflict(items::id)
                .do_update()
                .set((
                    items::at.eq(new.at),
                    items::done.eq(new.done),
                    items::extra.eq(&new.extra),
                    items::label.eq(&new.label),
                    items::price.eq(&new.price),
                ))
                .execute(conn),
            Self::Update(rows, edit) => {
                let set = (
                    edit.id.map(|id| items::id.eq(id)),
                    edit.at.map(|at| items::at.eq(at)),
                    edit.done.map(|done| items::done.eq(done)),
                    edit.extra.as_ref().map(|extra| items::extra.eq(extra)),
                    edit.label.as_ref().map(|label| items::label.eq(label)),
                    edit.price.as_ref().map(|price| items::price.eq(price)),
                );
                match *rows {
                    Rows::One(id) => diesel::update(items::table.find(id)).set(set).execute(conn),
                    Rows::UpTo(last) => diesel::update(items::table.filter(items::id.le(last)))
                        .set(set)
                        .execute(conn),
                    Rows::All => diesel::update(items::table).set(set).execute(conn),
                }
            }
            Self::Delete(rows) => match *rows {
                Rows::One(id) => diesel::delete(items::table.find(id)).execute(conn),
                Rows::UpTo(last) => {
                    diesel::delete(items::table.filter(items::id.le(last))).execute(conn)
                }
                Rows::All => diesel::delete(items::table).execute(conn),
            },
            Self::Truncate => diesel::sql_query("TRUNCATE items").execute(conn),
        }
    }
}

/// A statement, or a savepoint with up to two more inside it.
pub fn any() -> impl Strategy<Value = Work> {
    let statement = statement().prop_map(Work::Statement);
    statement.prop_recursive(3, 12, 4, |work| {
        (vec(work, 0..5), any_bool()).prop_map(|(work, keep)| Work::Savepoint { work, keep })
    })
}

fn statement() -> impl Strategy<Value = Statement> {
    prop_oneof![
        6 => item().prop_map(Statement::Insert),
        4 => item().prop_map(Statement::Upsert),
        8 => (rows(), edit()).prop_map(|(rows, edit)| Statement::Update(rows, edit)),
        3 => rows().prop_map(Statement::Delete),
        1 => Just(Statement::Truncate),
    ]
}

fn key() -> impl Strategy<Value = i64> {
    select(KEYS.as_slice())
}

fn rows() -> impl Strategy<Value = Rows> {
    prop_oneof![
        4 => key().prop_map(Rows::One),
        1 => key().prop_map(Rows::UpTo),
        1 => Just(Rows::All),
    ]
}

/// Few values, so that many an update changes nothing or a part.
fn item() -> impl Strategy<Value = Item> {
    (key(), at(), any_bool(), extra(), label(), price()).prop_map(
        |(id, at, done, extra, label, price)| Item {
            id,
            at,
            done,
            extra,
            label,
            price,
        },
    )
}

fn edit() -> impl Strategy<Value = Edit> {
    (
        option::weighted(0.2, key()),
        option::weighted(0.3, at()),
        option::weighted(0.3, any_bool()),
        option::weighted(0.3, extra()),
        option::weighted(0.3, label()),
        option::weighted(0.3, price()),
    )
        .prop_map(|(id, at, done, extra, label, price)| Edit {
            id,
            at,
            done,
            extra,
            label,
            price,
        })
        .prop_filter("an UPDATE sets something", |edit| !edit.is_empty())
}

fn any_bool() -> impl Strategy<Value = bool> {
    proptest::bool::ANY
}

fn at() -> impl Strategy<Value = Option<DateTime<chrono::Utc>>> {
    select(vec![
        None,
        Some(-62_135_596_800_000_000),
        Some(1_700_000_000_123_456),
    ])
    .prop_map(|micros| DateTime::from_timestamp_micros(micros?))
}

/// No jsonb `null`: the log doesn't tell it from NULL.
fn extra() -> impl Strategy<Value = Option<Value>> {
    select(vec![
        None,
        Some(json!({})),
        Some(json!({"a": [1, null, "ü\"\\"], "b": {"c": false}})),
        Some(json!("text")),
    ])
}

fn label() -> impl Strategy<Value = String> {
    select(vec!["", "a", "ä'b\"c\\d\n{}", "null"]).prop_map(str::to_owned)
}

fn price() -> impl Strategy<Value = Option<BigDecimal>> {
    select(vec![
        None,
        Some("1.0"),
        Some("1.00"),
        Some("-12345678901234567890.000012345"),
    ])
    .prop_map(|price| price.map(|price| price.parse().unwrap()))
}
