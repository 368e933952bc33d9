//! Integration tests.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "this binary is only tests"
)]

mod attacks;
mod contract;
mod derive;
mod diesel_cli;
mod diff;
mod documents;
mod incident;
mod install;
mod model;
mod moment;
mod mutations;
mod plans;
mod quickstart;
mod read;
mod recipes;
mod revert;
mod schema;
mod spine;
mod timeline;
mod ui;
mod where_changed;
mod write;
