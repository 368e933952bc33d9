//! C12: a partition leaves its table, and its rows are recorded as gone.

use diesel::prelude::*;
use serde_json::json;
use threadline::{AsOf, prelude::*};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

use super::log::{assert_newest_images_equal_table, lines};

diesel::table! {
    events (id) { id -> BigInt, name -> Nullable<Text>, }
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = events)]
#[audited(store_changed_from)]
struct Event {
    id: i64,
    name: Option<String>,
}

/// Rows 1 and 2 in one partition, 110 and 160 in the leaves of another.
fn events() -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE events (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id);
         CREATE TABLE events_low PARTITION OF events FOR VALUES FROM (0) TO (100);
         CREATE TABLE events_high PARTITION OF events FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
         CREATE TABLE events_higher PARTITION OF events_high FOR VALUES FROM (100) TO (150);
         CREATE TABLE events_highest PARTITION OF events_high FOR VALUES FROM (150) TO (200)",
    );
    db.capture("events", Event::DEFINITION);
    execute(
        &mut db.app(),
        "INSERT INTO events VALUES (1, 'a'), (2, 'b'), (110, 'c'), (160, 'd')",
    );
    db
}

const INSERTS: [&str; 4] = ["insert 1", "insert 2", "insert 110", "insert 160"];

fn triggers_of(db: &TestDb, table: &str) -> serde_json::Value {
    value(
        &mut db.owner(),
        &format!(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND tgname ~ 'threadline'"
        ),
    )
}

#[test]
fn c12_detached_rows_are_recorded_as_deleted() {
    let db = events();
    execute(&mut db.owner(), "SELECT threadline_detach('events_low')");
    assert_eq!(lines(&db, "events")[..4], INSERTS);
    assert_eq!(lines(&db, "events")[4..], ["delete 1", "delete 2"]);
    assert_newest_images_equal_table(&db, "events");
    let was = rows(
        &mut db.auditor(),
        "SELECT changed_from FROM audit_changes WHERE op = 'delete' ORDER BY id",
    );
    assert_eq!(was[1], json!({"changed_from": {"id": 2, "name": "b"}}));
    let gone = Event::as_of(1, diesel::dsl::now).get_result(&mut db.auditor());
    assert!(matches!(gone, Ok(AsOf::Deleted(_))), "{gone:?}");
}

#[test]
fn c12_a_detached_partition_is_a_table_like_any_other() {
    let db = events();
    execute(&mut db.owner(), "SELECT threadline_detach('events_low')");
    assert_eq!(triggers_of(&db, "events_low"), 0);
    let before = lines(&db, "events");
    execute(
        &mut db.app(),
        "INSERT INTO events_low VALUES (3, 'c'); TRUNCATE events_low",
    );
    assert_eq!(lines(&db, "events"), before);
    execute(
        &mut db.app(),
        "UPDATE events SET name = 'still captured' WHERE id = 110",
    );
    assert_eq!(lines(&db, "events").pop().unwrap(), "update 110");
    execute(&mut db.owner(), "DROP TABLE events_low");
}

#[test]
fn c12_a_partitioned_partition_leaves_with_its_leaves() {
    let db = events();
    execute(&mut db.owner(), "SELECT threadline_detach('events_high')");
    assert_eq!(lines(&db, "events")[4..], ["delete 110", "delete 160"]);
    for table in ["events_high", "events_higher", "events_highest"] {
        assert_eq!(triggers_of(&db, table), 0, "{table}");
    }
    assert_newest_images_equal_table(&db, "events");
}

#[test]
fn c12_a_leaf_leaves_its_partition() {
    let db = events();
    execute(
        &mut db.owner(),
        "SELECT threadline_detach('events_highest')",
    );
    assert_eq!(lines(&db, "events")[4..], ["delete 160"]);
    assert_newest_images_equal_table(&db, "events");
}

#[test]
fn c12_a_rolled_back_detach_leaves_everything() {
    let db = events();
    execute(
        &mut db.owner(),
        "BEGIN; SELECT threadline_detach('events_low'); ROLLBACK",
    );
    assert_eq!(lines(&db, "events"), INSERTS);
    execute(&mut db.app(), "DELETE FROM events WHERE id = 1");
    assert_eq!(lines(&db, "events")[4..], ["delete 1"]);
}

#[test]
fn c12_a_partition_that_comes_back_is_captured_again() {
    let db = events();
    let mut owner = db.owner();
    execute(&mut owner, "SELECT threadline_detach('events_low')");
    execute(
        &mut owner,
        "ALTER TABLE events ATTACH PARTITION events_low FOR VALUES FROM (0) TO (100)",
    );
    execute(
        &mut db.app(),
        "UPDATE events SET name = 'back' WHERE id = 1",
    );
    assert_eq!(lines(&db, "events").pop().unwrap(), "update 1");
}

#[test]
fn c12_what_is_no_partition_of_an_audited_table_is_refused() {
    let db = events();
    db.create(
        "CREATE TABLE alone (id bigint PRIMARY KEY);
         CREATE TABLE unaudited (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE unaudited_low PARTITION OF unaudited FOR VALUES FROM (0) TO (100)",
    );
    for table in ["alone", "unaudited_low", "events"] {
        let refused = try_execute(
            &mut db.owner(),
            &format!("SELECT threadline_detach('{table}')"),
        );
        let refused = refused.unwrap_err();
        assert!(
            refused.contains(&format!("{table} is not a partition of an audited table")),
            "{refused}"
        );
    }
}

#[test]
fn c12_the_application_may_not_detach() {
    let db = events();
    let refused = try_execute(&mut db.app(), "SELECT threadline_detach('events_low')").unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
}

/// Redaction holds for rows that leave, whatever the settings of who sends them.
#[test]
fn c12_detached_rows_are_redacted_and_printed_as_capture_does() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE visits (at timestamptz PRIMARY KEY, secret text) PARTITION BY RANGE (at);
         CREATE TABLE visits_old PARTITION OF visits FOR VALUES FROM ('2000-01-01Z') TO ('2001-01-01Z')",
    );
    db.capture(
        "visits",
        threadline::Definition::new("Visit", &["at"])
            .store_changed_from()
            .mask(&["secret"]),
    );
    execute(
        &mut db.app(),
        "INSERT INTO visits VALUES ('2000-06-01 12:00Z', 'canary')",
    );
    execute(
        &mut db.owner(),
        "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SELECT threadline_detach('visits_old')",
    );
    let keys = "SELECT count(DISTINCT table_pk) FROM audit_changes";
    assert_eq!(value(&mut db.auditor(), keys), 1);
    let stored = "SELECT changed_from ->> 'secret' FROM audit_changes WHERE op = 'delete'";
    assert_eq!(value(&mut db.auditor(), stored), "[REDACTED]");
}
