//! The work: statements as Diesel runs them, and how to make them up.

use diesel::prelude::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::table::{Item, Values, item, items, key, values};

#[derive(Debug, Clone)]
pub enum Work {
    Statement(Box<Statement>),
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
    values: Values,
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
        let id = self.id.unwrap_or(row.id);
        Item {
            id,
            ..self.values.apply(row)
        }
    }
}

impl Work {
    /// Whether it may read or write a row under this key.
    pub fn touches(&self, key: i64) -> bool {
        match self {
            Self::Statement(statement) => statement.touches(key),
            Self::Savepoint { work, .. } => work.iter().any(|work| work.touches(key)),
        }
    }

    /// Whether nobody else may have the table in use.
    pub fn is_exclusive(&self) -> bool {
        match self {
            Self::Statement(statement) => matches!(**statement, Statement::Truncate),
            Self::Savepoint { work, .. } => work.iter().any(Self::is_exclusive),
        }
    }
}

impl Statement {
    fn touches(&self, key: i64) -> bool {
        match self {
            Self::Insert(new) | Self::Upsert(new) => new.id == key,
            Self::Update(rows, edit) => rows.has(key) || edit.id == Some(key),
            Self::Delete(rows) => rows.has(key),
            Self::Truncate => true,
        }
    }

    pub fn execute(&self, conn: &mut PgConnection) -> QueryResult<usize> {
        match self {
            Self::Insert(new) => diesel::insert_into(items::table).values(new).execute(conn),
            Self::Upsert(new) => diesel::insert_into(items::table)
                .values(new)
                .on_conflict(items::id)
                .do_update()
                .set(new.values())
                .execute(conn),
            Self::Update(rows, edit) => {
                let set = (edit.id.map(|id| items::id.eq(id)), &edit.values);
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
    let statement = statement().prop_map(|statement| Work::Statement(Box::new(statement)));
    statement.prop_recursive(3, 12, 4, |work| {
        (vec(work, 0..5), proptest::bool::ANY)
            .prop_map(|(work, keep)| Work::Savepoint { work, keep })
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

fn rows() -> impl Strategy<Value = Rows> {
    prop_oneof![
        4 => key().prop_map(Rows::One),
        1 => key().prop_map(Rows::UpTo),
        1 => Just(Rows::All),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    (option::weighted(0.2, key()), values())
        .prop_map(|(id, values)| Edit { id, values })
        .prop_filter("an UPDATE sets something", |edit| {
            edit.id.is_some() || !edit.values.is_empty()
        })
}
