//! The quickstart tells what it is said to tell, and its committed migrations are those of its models.

use std::path::{Path, PathBuf};

use diesel_migrations::MigrationHarness;
use example_quickstart::{MIGRATIONS, audited, story};
use threadline::capture::{Storage, base};
use threadline_cli::{Environment, run_with};
use threadline_tests::TestDb;

#[test]
fn the_story() {
    let db = TestDb::empty();
    db.owner().run_pending_migrations(MIGRATIONS).unwrap();
    let told = || {
        let mut text = Vec::new();
        story::tell(&db.url("tl_owner"), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let first = told();
    insta::assert_snapshot!(first, @r##"
    Who changed the customer? (newest first)
      update  by user:ben: grace@cobol.example (email was "grace@navy.example", tax_id was "[REDACTED]")
      insert  by user:ada: grace@navy.example

    What does the log hold of her secrets?
      tax_id "[REDACTED]", password_hash not stored
      tax_id "[REDACTED]", password_hash not stored
      the table itself still has tax_id Some("US-987-65-4321")

    Which line was taken off the invoice?
      delete  by admin:root: Nanoseconds, a bundle, 20.00
      insert  by user:ada: Nanoseconds, a bundle, 20.00

    What happens without an actor?
      refused: threadline: table public.invoices requires an actor
      hint: Write inside threadline::transaction, or SELECT set_config('threadline.actor_ref', '{"type": "user", "id": "42"}', true) first.

    What did the night do to the invoice? (newest first)
      update  by admin:root: 100.00, open (status was "void")
      update  by job:nightly-dunning: 100.00, void (status was "open")
      update  by admin:root: 100.00, open (total was 120.0)
      insert  by user:ada: 120.00, open

    And how was it when the night began?
      100.00, open
      now it is open again, from the values that the log had kept
    "##);
    // It shows no id and no time, so it is the same story on the database that it left behind.
    assert_eq!(told(), first);
}

#[test]
fn the_models_need_no_other_migration() {
    assert_eq!(
        threadline(&["generate", "--print-sql"]),
        "-- Nothing changed.\n"
    );
    assert_eq!(
        threadline(&["install", "--print-sql"]),
        "-- The audit schema is up to date: nothing to write.\n"
    );
}

#[test]
fn the_audit_schema_is_the_library_s() {
    let mut base: Vec<_> = std::fs::read_dir(quickstart().join("migrations"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("up.sql"))
        .filter(|up| {
            let name = up.parent().unwrap().file_name().unwrap();
            name.to_string_lossy().contains("_threadline_install")
                || name.to_string_lossy().contains("_threadline_upgrade")
        })
        .collect();
    base.sort();
    let newest = std::fs::read_to_string(base.last().unwrap()).unwrap();
    let (_, sql) = newest.split_once("\n\n").unwrap();
    assert!(
        sql == base::up_sql(&Storage::default(), None),
        "the quickstart installs another audit schema than this one: remove its threadline_* migrations, \
         then `cargo run -p example-quickstart --bin threadline -- install` there, and the same with `generate`"
    );
}

/// What the quickstart's own command prints.
fn threadline(arguments: &[&str]) -> String {
    let environment = Environment::new(quickstart(), "2026-05-04T12:00:00Z".parse().unwrap());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = ["threadline"].iter().chain(arguments);
    let code = run_with(&audited(), arguments, &environment, &mut out, &mut err);
    assert_eq!(String::from_utf8(err).unwrap(), "");
    assert_eq!(code, 0);
    String::from_utf8(out).unwrap()
}

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart")
}
