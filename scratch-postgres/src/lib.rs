//! A private, throwaway PostgreSQL cluster for tests and demos.
//!
//! [`ScratchPostgres::start`] makes a new cluster from the PostgreSQL binaries installed on this
//! machine and starts its server on a Unix socket that only the current user can reach. Nothing
//! has to be configured, no other server is touched, and clusters do not see each other.
//!
//! ```
//! use scratch_postgres::ScratchPostgres;
//!
//! let postgres = ScratchPostgres::start()?;
//! let url = postgres.url("postgres"); // for Diesel, diesel-async, psql …
//! # assert!(url.starts_with("postgresql://postgres@%2F"));
//! # Ok::<(), scratch_postgres::Error>(())
//! ```
//!
//! The server and its files go when the value is dropped. They go as well when the process ends
//! without dropping it: by `exit`, by a panic, or by a signal that cannot be caught. So a cluster
//! may live in a `static`.
//!
//! `cargo run -p scratch-postgres` starts a cluster to play with.
//!
//! # Where the binaries come from
//!
//! The folder that the environment variable `THREADLINE_PG_BIN` names, and no other if it is set.
//! Otherwise the first that holds `initdb` and `postgres`: a folder of `PATH`, the answer of
//! `pg_config --bindir`, or the newest version among the folders that packages of Debian, Red Hat,
//! Homebrew and Postgres.app install to and those that `script/postgres` fetched:
//! `$XDG_CACHE_HOME/threadline/postgres/*/bin`, or root's `/var/cache/threadline/postgres/*/bin`.
//!
//! # As root
//!
//! PostgreSQL refuses to run as root, as in most containers. The cluster then belongs to the user
//! `postgres`, or to `nobody` where that does not exist.

mod account;
mod binaries;
mod cluster;
mod error;
mod url;

pub use cluster::{Builder, ScratchPostgres};
pub use error::Error;
