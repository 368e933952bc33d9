//! An embedded field is several columns, which the struct names.

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

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct Secrets {
    ssn: Option<String>,
}

#[derive(Queryable, Selectable, Audited)]
#[diesel(table_name = users)]
struct User {
    id: i64,
    #[diesel(embed)]
    #[audited(exclude)]
    secrets: Secrets,
}

fn main() {}
