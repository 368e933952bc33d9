//! Attributes that are written otherwise, or elsewhere.

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
#[audited(except(email))]
struct User {
    id: i64,
    #[audited(store_changed_from)]
    email: String,
    #[audited(mask(ssn))]
    ssn: Option<String>,
}

fn main() {}
