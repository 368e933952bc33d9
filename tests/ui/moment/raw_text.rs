//! Diesel doesn't know that a text is a SELECT: that is what `as_of_raw` is for.

use threadline::prelude::*;

fn main() {
    let _ = diesel::sql_query("DELETE FROM users").as_of(diesel::dsl::now);
}
