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
mod log;
