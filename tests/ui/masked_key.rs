//! A key column can't be redacted; the key is known from the table's module.

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
#[audited(mask(id))]
struct User {
    id: i64,
    email: String,
}

fn main() {}
