//! One error about the table's module, however often the model needs it.

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
#[diesel(table_name = people)]
#[audited(exclude(email), except_columns(name))]
struct Person {
    id: i64,
    #[audited(mask)]
    ssn: String,
}

fn main() {}
