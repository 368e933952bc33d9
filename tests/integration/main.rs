//! Integration tests.

mod derive;
mod spine;
mod ui;
