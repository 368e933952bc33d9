//! What TRUNCATE can not be told to leave.

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
#[audited(truncate = cascade)]
struct User {
    id: i64,
}

fn main() {}
