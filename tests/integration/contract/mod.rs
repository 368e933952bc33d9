//! The capture contract, one file for each clause.
mod c26_no_lookups;
mod c27_malformed_actor;
mod c28_require_actor;
mod c30_security;
mod c31_append_only;
mod c32_names;
mod c35_refusals;
mod c36_versions;
