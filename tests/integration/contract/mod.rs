//! The capture contract, one file for each clause.

mod c01_tables;
mod c02_order;
mod c03_operations;
mod c04_keys;
mod c05_schema;
mod c06_indexes;
mod c07_every_write;
mod c08_truncate;
mod c09_images;
mod c10_nothing_changed;
mod c11_key_changes;
mod c12_partitions;
mod c13_newest_image;
mod c14_settings;
mod c15_any_data;
mod c17_schema_change;
mod c18_commit;
mod c19_redaction;
mod c20_canary;
mod c21_refused_rules;
mod c22_isolation;
mod c23_attribution;
mod c25_one_transaction;
mod c26_no_lookups;
mod c27_malformed_actor;
mod c28_require_actor;
mod c30_security;
mod c31_append_only;
mod c32_names;
mod c34_migrations;
mod c35_refusals;
mod c36_versions;

use threadline_tests::log;
