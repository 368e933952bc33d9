//! Flags take no value, lists need one.

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
#[audited(store_changed_from = true, exclude, primary_key())]
struct User {
    id: i64,
    email: String,
}

fn main() {}
