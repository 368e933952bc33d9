//! Integration tests.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

mod contract;
mod derive;
mod diesel_cli;
mod install;
mod quickstart;
mod spine;
mod ui;
