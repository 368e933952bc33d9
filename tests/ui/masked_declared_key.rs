//! The key that the model declares can't be redacted.

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
#[audited(primary_key(email), mask(email))]
struct User {
    id: i64,
    email: String,
}

fn main() {}
