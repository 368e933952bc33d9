//! Integration tests.
mod spine;
