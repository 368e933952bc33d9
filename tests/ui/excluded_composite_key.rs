//! Every column of a composite key has to stay.

use diesel::prelude::*;
use threadline::Audited;

diesel::table! {
    memberships (group_id, user_id) {
        group_id -> BigInt,
        user_id -> BigInt,
        note -> Text,
    }
}

#[derive(Queryable, Selectable, Audited)]
#[diesel(table_name = memberships)]
struct Membership {
    group_id: i64,
    #[audited(exclude)]
    user_id: i64,
    note: String,
}

fn main() {}
