//! A level that there is none of.

use diesel::prelude::*;
use threadline::Audited;

diesel::table! {
    users {
        id -> BigInt,
        email -> Text,
        ssn -> Nullable<Text>,
        pin -> Integer,
    }
}

#[derive(Queryable, Selectable, Audited)]
#[diesel(table_name = users)]
#[audited(level = statements)]
struct User {
    id: i64,
}

fn main() {}
