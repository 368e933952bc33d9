//! The quickstart tells what it is said to tell, and its committed migrations are those of its models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use diesel_migrations::MigrationHarness;
use example_quickstart::{MIGRATIONS, audited, story};
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
      update  by admin:root: 100.00, open (total was 120.00)
      insert  by user:ada: 120.00, open

    And how was it when the night began?
      100.00, open
      now it is open again, from the values that the log had kept
    "##);
    // It shows no id and no time, so it is the same story on the database that it left behind.
    assert_eq!(told(), first);
}

/// With `QUICKSTART=overwrite`, it replaces what is committed.
#[test]
fn the_migrations_are_what_the_commands_write() {
    let fresh = tempfile::tempdir().unwrap();
    let migrations = fresh.path().join("migrations");
    let own = "2026-01-05-090000_create_billing";
    copy(
        &quickstart().join("migrations").join(own),
        &migrations.join(own),
    );
    threadline(fresh.path(), &["install"]);
    threadline(fresh.path(), &["generate"]);

    let committed = quickstart().join("migrations");
    if std::env::var("QUICKSTART").is_ok_and(|value| value == "overwrite") {
        std::fs::remove_dir_all(&committed).unwrap();
        copy(&migrations, &committed);
    }
    let (generated, committed) = (files(&migrations), files(&committed));
    let names = |files: &BTreeMap<PathBuf, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&generated));
    for (name, text) in &committed {
        assert!(
            *text == generated[name],
            "{} differs; run this test with QUICKSTART=overwrite",
            name.display()
        );
    }

    // And so there is nothing left to write.
    insta::assert_snapshot!(
        threadline(&quickstart(), &["install", "--dry-run"])
            + &threadline(&quickstart(), &["generate", "--dry-run"]),
        @r"
    The audit schema is up to date: nothing to write.
    customers: key=id exclude=password_hash mask=tax_id except=updated_at store_changed_from (unchanged)
    invoices: key=id exclude=- mask=- except=- store_changed_from require_actor (unchanged)
    invoice_lines: key=invoice_id,position exclude=- mask=- except=- store_changed_from (unchanged)
    "
    );
}

/// What the quickstart's own command prints.
fn threadline(dir: &Path, arguments: &[&str]) -> String {
    // Three tables, a second each after installing.
    let now = match arguments[0] {
        "install" => "2026-01-05T09:01:00Z",
        _ => "2026-01-05T09:01:03Z",
    };
    let environment = Environment::new(dir, now.parse().unwrap());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = ["threadline"].iter().chain(arguments);
    let code = run_with(&audited(), arguments, &environment, &mut out, &mut err);
    assert_eq!(String::from_utf8(err).unwrap(), "");
    assert_eq!(code, 0);
    String::from_utf8(out).unwrap()
}

pub(crate) fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart")
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for (name, text) in files(from) {
        let to = to.join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, text).unwrap();
    }
}

/// The texts below a folder, by their path in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            found.extend(
                files(&path)
                    .into_iter()
                    .map(|(file, text)| (name.join(file), text)),
            );
        } else {
            found.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
    found
}
