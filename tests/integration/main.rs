//! Integration tests.

mod derive;
mod ui;
