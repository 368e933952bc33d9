//! A composite key takes a value for each of its columns.

use diesel::prelude::*;
use threadline::prelude::*;

diesel::table! {
    memberships (group_id, user_id) {
        group_id -> BigInt,
        user_id -> BigInt,
    }
}

#[derive(Queryable, Selectable, Audited)]
#[diesel(table_name = memberships)]
struct Membership {
    group_id: i64,
    user_id: i64,
}

fn main() {
    let _ = Membership::history((1, 2, 3));
    let _ = Membership::history(1);
}
