//! One column in two lists that contradict each other, at the struct and at a field.

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
    #[audited(mask)]
    ssn: Option<String>,
}

fn main() {}
