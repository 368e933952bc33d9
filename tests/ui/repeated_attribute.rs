//! What can be said only once.

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
#[audited(require_actor, primary_key(id))]
#[audited(require_actor = known, primary_key(id, id))]
struct User {
    id: i64,
    email: String,
}

fn main() {}
