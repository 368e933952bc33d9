//! A column that the table does not have.

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
#[audited(on_change(emial))]
struct User {
    id: i64,
    email: String,
}

fn main() {}
