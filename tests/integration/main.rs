//! Integration tests.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod contract;
mod derive;
mod plans;
mod quickstart;
mod spine;
mod ui;
#![allow(
    missing_docs,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "this binary is only tests"
)]
