//! A field's column that the table doesn't have.

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
#[diesel(table_name = users)]
struct User {
    id: i64,
    #[audited(mask, except)]
    #[diesel(column_name = emial)]
    email: String,
}

fn main() {}
