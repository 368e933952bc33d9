//! The id has to be what the key's column takes.

use diesel::prelude::*;
use threadline::prelude::*;

diesel::table! {
    users {
        id -> BigInt,
        email -> Text,
    }
}

#[derive(Queryable, Selectable, Audited)]
#[diesel(table_name = users)]
struct User {
    id: i64,
    email: String,
}

fn main() {
    let _ = User::history("x");
}
