//! The capture contract, one file for each clause.
mod c26_no_lookups;
mod c27_malformed_actor;
mod c28_require_actor;
