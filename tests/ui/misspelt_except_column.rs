//! A column that the table doesn't have, in lists that say nothing about redaction.

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
#[audited(store_changed_from, except_columns(emial), ignore_only(emial))]
struct User {
    id: i64,
    email: String,
}

fn main() {}
