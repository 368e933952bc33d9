//! The threadline binary.
fn main() {}
