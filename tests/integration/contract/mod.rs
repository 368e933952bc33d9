//! The capture contract, clause by clause.
mod c14_settings;
