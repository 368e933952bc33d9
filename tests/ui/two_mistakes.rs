//! All mistakes at once, those that only rustc can see included.

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
#[audited(exclud(email), mask(id), require_actor = admin)]
struct User {
    id: i64,
    #[audited(mask, fill = None)]
    ssn: Option<String>,
}

fn main() {}
