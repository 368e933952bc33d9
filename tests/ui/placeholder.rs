//! Placeholders that can't be printed.

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
#[audited(mask(email), mask_placeholder = "")]
struct User {
    id: i64,
    email: String,
}

#[derive(Queryable, Selectable, Audited)]
#[diesel(table_name = users)]
#[audited(mask(email), mask_placeholder = "\u{1b}[31mredacted")]
struct Account {
    id: i64,
    email: String,
}

fn main() {}
