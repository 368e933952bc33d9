//! The messages that a user meets for a mistake in a model.

/// After a deliberate change, `TRYBUILD=overwrite cargo test -p threadline-tests ui::` writes the new messages.
#[test]
fn compile_errors_read_well() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
