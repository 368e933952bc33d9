//! C13: the newest image of a row is the row, whatever wrote to it in the middle of a statement.

mod appended;
mod commands;
mod locked;
mod triggers;

use threadline::Definition;
use threadline_tests::{TestDb, execute, rows, value};

use super::log::{assert_newest_images_equal_table, lines};

const ITEM: Definition = Definition::new("Item", &["id"]).store_changed_from();

/// A table whose application has an AFTER ROW trigger of this name, and the rows 1 to 3. The trigger acts once, on row
/// 1, and its own writes don't set it off.
fn items(trigger: &str, event: &str, body: &str) -> TestDb {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text)");
    db.capture("items", ITEM);
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    db.create(&format!(
        "CREATE FUNCTION app_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$;
         CREATE TRIGGER \"{trigger}\" AFTER {event} ON items FOR EACH ROW
             WHEN ({row}.id IN (1, 11) AND pg_trigger_depth() = 0) EXECUTE FUNCTION app_trigger()",
        row = if event == "DELETE" { "OLD" } else { "NEW" },
    ));
    db
}
