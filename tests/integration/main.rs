//! Integration tests.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "this binary is only tests"
)]

mod contract;
mod derive;
mod model;
mod plans;
mod quickstart;
mod schema;
mod spine;
mod ui;
mod write;
