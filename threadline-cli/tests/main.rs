//! The command line as users meet it, in a directory of its own and at a fixed time.
//!
//! - `util`: the vocabulary
//! - `install`: the base migration, where it goes, what it tells
//! - `tables`: `generate --tables` and its policy flags
//! - `models`: `generate` with models compiled in
//! - `directory`: which migrations directory it is
//! - `failures`: what a failed command leaves behind (nothing), and exit codes
//! - `help`: the texts of `--help`, and the program itself

mod directory;
mod failures;
mod help;
mod install;
mod models;
mod tables;
mod util;
