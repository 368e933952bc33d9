//! Snapshots of the expansion.
