//! What the integration tests share: a private PostgreSQL, a database for each test, and the roles of the contract.

mod database;
mod rows;

pub use database::{TestDb, postgres};
pub use rows::{execute, rows, try_execute, value};
