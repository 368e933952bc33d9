//! Unknown attributes at fields, near to a known one and not.

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
struct User {
    id: i64,
    #[audited(maks)]
    email: String,
    #[audited(redact)]
    ssn: Option<String>,
}

fn main() {}
