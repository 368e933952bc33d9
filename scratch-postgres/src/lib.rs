//! scratch-postgres
