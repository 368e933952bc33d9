//! The derive that is forgotten.

use diesel::prelude::*;
use threadline::prelude::*;

diesel::table! {
    users {
        id -> BigInt,
        email -> Text,
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
struct User {
    id: i64,
    email: String,
}

fn main() {
    let _ = User::history(1);
}
