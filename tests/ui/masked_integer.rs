//! A redacted column that is neither text nor nullable has no value to decode.

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
struct User {
    id: i64,
    #[audited(mask)]
    pin: i32,
}

fn main() {}
