//! A filter on a table that the query doesn't read.

use diesel::prelude::*;
use threadline::prelude::*;

diesel::table! {
    users {
        id -> BigInt,
        email -> Text,
    }
}

diesel::table! {
    posts {
        id -> BigInt,
        title -> Text,
    }
}

#[derive(Queryable, Selectable, Audited)]
#[diesel(table_name = users)]
struct User {
    id: i64,
    email: String,
}

fn read(connection: &mut PgConnection) {
    let _ = User::history(1).filter(posts::title.eq("x")).load(connection);
}

fn main() {}
