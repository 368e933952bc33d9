//! A column twice in one list, at the struct and across both forms.

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
#[audited(except_columns(email, email), mask(ssn))]
struct User {
    id: i64,
    email: String,
    #[audited(mask)]
    ssn: Option<String>,
}

fn main() {}
