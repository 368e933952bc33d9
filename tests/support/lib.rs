//! What the integration tests share: a private PostgreSQL, a database for each test, and the roles of the contract.

mod database;
pub mod explain;
pub mod log;
pub mod mutation;
mod programs;
mod rows;
mod wait;

pub use database::{TestDb, cluster, postgres};
pub use programs::{program, run, skip};
pub use rows::{execute, offers, rows, try_execute, value};
pub use wait::wait_for;

/// The README's code, compiled: here, because it connects with libpq, which the library doesn't link.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The code of the incident playbook.
#[cfg(doctest)]
#[doc = include_str!("../../docs/incident-playbook.md")]
struct IncidentPlaybook;
