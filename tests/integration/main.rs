//! Integration tests.
// The binary is only tests: an unwrap is an assertion, and nobody reads its documentation or uses its items.
#![allow(missing_docs, clippy::unwrap_used, unreachable_pub)]

mod contract;
mod read;
mod recipes;
mod spine;
