//! The table of `sql/users.sql`, as an application has it.

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;
use threadline::Audited;

diesel::table! {
    users (id) {
        id -> BigInt,
        email -> Text,
        name -> Text,
        role -> Text,
        age -> Nullable<Integer>,
        balance -> Numeric,
        active -> Bool,
        settings -> Jsonb,
        tags -> Array<Text>,
        last_login -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

#[derive(Queryable, QueryableByName, Selectable, Audited)]
#[diesel(table_name = users)]
#[audited(store_changed_from)]
#[expect(dead_code, reason = "rows are read for the time that it takes")]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) age: Option<i32>,
    pub(crate) balance: BigDecimal,
    pub(crate) active: bool,
    pub(crate) settings: Value,
    pub(crate) tags: Vec<String>,
    pub(crate) last_login: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}
