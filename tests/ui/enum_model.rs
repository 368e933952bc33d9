//! Rows are structs.

use threadline::Audited;

diesel::table! {
    users {
        id -> BigInt,
        email -> Text,
        ssn -> Nullable<Text>,
        pin -> Integer,
    }
}

#[derive(Audited)]
enum User {
    Person { id: i64 },
    Robot { id: i64 },
}

fn main() {}
