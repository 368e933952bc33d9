//! The messages that a user meets for a mistake in a model.

/// After a deliberate change, `TRYBUILD=overwrite cargo test -p threadline-tests ui::` writes the new messages.
#[test]
fn compile_errors_read_well() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*.rs");
    cases.compile_fail("ui/history/*.rs");
    cases.compile_fail("ui/moment/*.rs");
}
