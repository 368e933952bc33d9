//! Only a SELECT is as of a moment: this one would write.

use diesel::prelude::*;
use threadline::prelude::*;

diesel::table! {
    users {
        id -> BigInt,
        email -> Text,
    }
}

fn main() {
    let _ = diesel::insert_into(users::table)
        .values(users::email.eq("x"))
        .returning(users::id)
        .as_of(diesel::dsl::now);
}
