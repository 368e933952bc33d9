//! The capture contract, one file for each clause.
mod c34_migrations;
