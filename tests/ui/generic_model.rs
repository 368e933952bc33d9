//! A generic model is refused, and being refused is its only error.

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
struct User<T> {
    id: i64,
    email: T,
}

fn assert_audited<M: Audited>() {}

const _: fn() = assert_audited::<User<String>>;

fn main() {}
