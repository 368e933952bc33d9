//! What is never stored has no earlier value to read.

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
#[audited(exclude(ssn))]
struct User {
    id: i64,
    #[audited(on_change)]
    ssn: Option<String>,
}

fn main() {}
