//! Only literals can be recorded as values to decode.

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
#[audited(exclude(email), fill(email = String::new()))]
struct User {
    id: i64,
    email: String,
    #[audited(mask, fill = 1 + 1)]
    pin: i32,
}

fn main() {}
