//! History is decoded through the model's own `Selectable`.

use diesel::prelude::*;
use threadline::prelude::*;

diesel::table! {
    users {
        id -> BigInt,
        email -> Text,
    }
}

#[derive(Queryable, Audited)]
#[diesel(table_name = users)]
struct User {
    id: i64,
    email: String,
}

fn read(connection: &mut PgConnection) {
    let _ = User::history(1).load(connection);
}

fn main() {}
