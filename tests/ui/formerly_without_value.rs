//! `formerly` needs the old name.

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
#[audited(formerly)]
struct User {
    id: i64,
    #[audited(formerly())]
    email: String,
}

fn main() {}
