//! Capture rules belong to the model that owns the table's plan.

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
#[audited(read_only, store_changed_from)]
struct User {
    id: i64,
    #[audited(exclude)]
    email: String,
}

fn main() {}
