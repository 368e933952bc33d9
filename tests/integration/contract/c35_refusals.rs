//! C35: a migration that can't capture a table says why, and leaves nothing.

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};
use threadline::Definition;
use threadline::capture::{CapturePlan, Policy, Storage, columns};
use threadline_tests::{TestDb, execute, offers, try_execute, value};

/// Nothing of a capture is in the database.
fn assert_nothing_left(db: &TestDb) {
    let left = value(
        &mut db.superuser(),
        "SELECT jsonb_build_array(
           (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '!threadline%'),
           (SELECT count(*) FROM pg_proc WHERE proname LIKE 'threadline\\_capture\\_%' AND proname <> 'threadline_capture_v1'),
           (SELECT count(*) FROM audit_tables))",
    );
    assert_eq!(left, json!([0, 0, 0]));
}

/// Runs the plan's migration after `set_up` on one connection of the owner, which loses temporary tables afterwards.
fn assert_refused_plan(set_up: &str, plan: &CapturePlan, reason: &str, write: Option<&str>) {
    let db = TestDb::new();
    db.create(set_up);
    let error = try_execute(&mut db.owner(), &plan.up_sql(&Storage::default())).expect_err(reason);
    assert!(error.contains(reason), "{error}");
    assert!(error.contains('\n'), "no hint: {error}");
    assert_nothing_left(&db);
    if let Some(write) = write {
        execute(&mut db.app(), write);
        assert_eq!(
            value(&mut db.auditor(), "SELECT count(*) FROM audit_changes"),
            json!(0)
        );
    }
}

fn keyed(table: &str, key: &'static [&'static str]) -> CapturePlan {
    CapturePlan::for_definition(table.parse().unwrap(), &Definition::new("Model", key)).unwrap()
}

fn by_catalog(table: &str) -> CapturePlan {
    CapturePlan::for_table(table.parse().unwrap(), Policy::default()).unwrap()
}

macro_rules! refusals {
    ($($name:ident: $set_up:literal, $plan:expr, $reason:literal $(, $write:literal)?;)*) => { $(
        #[test]
        fn $name() {
            #[allow(unused_assignments, unused_mut)]
            let mut write: Option<&str> = Some("INSERT INTO items VALUES (1, 'a')");
            $(write = Some($write);)?
            assert_refused_plan($set_up, &$plan, $reason, write);
        }
    )* };
}

refusals! {
    c35_a_missing_table: "CREATE TABLE items (id int, code text)", keyed("missing", &["id"]), "table missing does not exist";
    c35_a_missing_schema: "CREATE TABLE items (id int, code text)", keyed("nowhere.items", &["id"]), "table nowhere.items does not exist";
    c35_a_missing_key_column: "CREATE TABLE items (id int PRIMARY KEY, code text)", keyed("items", &["uid"]), "table public.items has no key column uid";
    c35_a_nullable_key: "CREATE TABLE items (id int UNIQUE, code text)", keyed("items", &["id"]), "key column id of table public.items may be NULL";
    c35_a_nullable_part_of_a_key: "CREATE TABLE items (id int NOT NULL, code text, UNIQUE (id, code))", keyed("items", &["id", "code"]),
        "key column code of table public.items may be NULL";
    c35_a_key_without_an_index: "CREATE TABLE items (id int NOT NULL, code text)", keyed("items", &["id"]),
        "the columns {id} of table public.items are not its primary key";
    c35_a_key_with_an_index_that_is_not_unique: "CREATE TABLE items (id int NOT NULL, code text); CREATE INDEX ON items (id)", keyed("items", &["id"]),
        "the columns {id} of table public.items are not its primary key";
    c35_a_part_of_the_key: "CREATE TABLE items (id int, code text, PRIMARY KEY (id, code))", keyed("items", &["id"]),
        "the columns {id} of table public.items are not its primary key";
    c35_more_than_the_key: "CREATE TABLE items (id int PRIMARY KEY, code text NOT NULL)", keyed("items", &["id", "code"]),
        "the columns {id,code} of table public.items are not its primary key";
    c35_an_included_column: "CREATE TABLE items (id int NOT NULL, code text NOT NULL); CREATE UNIQUE INDEX ON items (id) INCLUDE (code)",
        keyed("items", &["id", "code"]), "the columns {id,code} of table public.items are not its primary key";
    c35_a_partial_unique_index: "CREATE TABLE items (id int NOT NULL, code text); CREATE UNIQUE INDEX ON items (id) WHERE code IS NOT NULL",
        keyed("items", &["id"]), "non-partial unique index";
    c35_a_deferrable_unique_constraint: "CREATE TABLE items (id int NOT NULL UNIQUE DEFERRABLE, code text)", keyed("items", &["id"]),
        "immediate, non-partial unique index";
    c35_a_unique_index_over_an_expression: "CREATE TABLE items (id int NOT NULL, code text); CREATE UNIQUE INDEX ON items ((id + 0))",
        keyed("items", &["id"]), "non-partial unique index";
    c35_a_unique_index_over_the_key_and_an_expression: "CREATE TABLE items (id int NOT NULL, code text); CREATE UNIQUE INDEX ON items (id, lower(code))",
        keyed("items", &["id"]), "non-partial unique index";
    c35_no_primary_key_in_the_catalog: "CREATE TABLE items (id int NOT NULL UNIQUE, code text)", by_catalog("items"), "table public.items has no primary key";
    c35_a_view: "CREATE TABLE items (id int PRIMARY KEY, code text); CREATE VIEW shown AS SELECT * FROM items", keyed("shown", &["id"]),
        "shown is not a permanent table";
    c35_a_materialized_view: "CREATE TABLE items (id int PRIMARY KEY, code text); CREATE MATERIALIZED VIEW shown AS SELECT * FROM items",
        keyed("shown", &["id"]), "shown is not a permanent table";
    c35_a_sequence: "CREATE TABLE items (id int PRIMARY KEY, code text); CREATE SEQUENCE counted", keyed("counted", &["last_value"]),
        "counted is not a permanent table";
    c35_a_partition: "CREATE TABLE items (id int PRIMARY KEY, code text) PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF items FOR VALUES FROM (0) TO (9)",
        keyed("low", &["id"]), "low is a partition";
    c35_a_key_of_numeric_without_scale: "CREATE TABLE items (id numeric PRIMARY KEY, code text)", keyed("items", &["id"]),
        "key column id of table public.items is of type numeric";
    c35_a_key_of_double_precision: "CREATE TABLE items (id float8 PRIMARY KEY, code text)", keyed("items", &["id"]), "is of type double precision";
    c35_a_key_of_interval: "CREATE TABLE items (id interval PRIMARY KEY, code text)", keyed("items", &["id"]), "is of type interval",
        "INSERT INTO items VALUES ('1 day', 'a')";
    c35_a_key_of_jsonb: "CREATE TABLE items (id jsonb PRIMARY KEY, code text)", keyed("items", &["id"]), "is of type jsonb",
        "INSERT INTO items VALUES ('1', 'a')";
    c35_a_key_of_an_array: "CREATE TABLE items (id int[] PRIMARY KEY, code text)", keyed("items", &["id"]), "is of type integer[]",
        "INSERT INTO items VALUES ('{1}', 'a')";
    c35_a_key_of_a_domain_over_a_refused_type: "CREATE DOMAIN amount AS numeric; CREATE TABLE items (id amount PRIMARY KEY, code text)",
        keyed("items", &["id"]), "is of type public.amount";
}

#[test]
fn c35_a_key_with_a_nondeterministic_collation() {
    let collation =
        "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";
    if offers(&mut TestDb::new().superuser(), collation) {
        assert_refused_plan(
            &format!("{collation}; CREATE TABLE items (id text COLLATE ci PRIMARY KEY, code text)"),
            &keyed("items", &["id"]),
            "is of type text, whose equal values may print differently",
            Some("INSERT INTO items VALUES ('x', 'a')"),
        );
    }
}

#[test]
fn c35_a_temporary_table() {
    let db = TestDb::new();
    let mut owner = db.owner();
    execute(&mut owner, "CREATE TEMP TABLE items (id int PRIMARY KEY)");
    let error = try_execute(
        &mut owner,
        &keyed("items", &["id"]).up_sql(&Storage::default()),
    )
    .unwrap_err();
    assert!(error.contains("items is not a permanent table"), "{error}");
    assert_nothing_left(&db);
    execute(&mut owner, "INSERT INTO items VALUES (1)");
}

#[test]
fn c35_a_foreign_table() {
    let db = TestDb::new();
    execute(
        &mut db.superuser(),
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
         CREATE FOREIGN TABLE items (id int NOT NULL) SERVER nowhere; ALTER TABLE items OWNER TO tl_owner",
    );
    let error = try_execute(
        &mut db.owner(),
        &keyed("items", &["id"]).up_sql(&Storage::default()),
    )
    .unwrap_err();
    assert!(error.contains("items is not a permanent table"), "{error}");
    assert_nothing_left(&db);
}

#[test]
fn c35_an_invalid_unique_index() {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id int NOT NULL, code text); INSERT INTO items VALUES (1, 'a'), (1, 'b')");
    let mut owner = db.owner();
    owner
        .batch_execute("CREATE UNIQUE INDEX CONCURRENTLY items_id ON items (id)")
        .unwrap_err();
    execute(&mut owner, "DELETE FROM items WHERE code = 'b'");
    let invalid = value(
        &mut owner,
        "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = 'items_id'::regclass",
    );
    assert_eq!(invalid, Value::Bool(true));
    let error = db
        .try_capture("items", Definition::new("Item", &["id"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("valid, immediate, non-partial unique index"),
        "{error}"
    );
    assert_nothing_left(&db);
    execute(&mut db.app(), "UPDATE items SET code = 'c'");
}

fn assert_refused_rules(policy: Policy, reason: &str) {
    let plan = CapturePlan::for_table("items".parse().unwrap(), policy).unwrap();
    let set_up = "CREATE TABLE items (id int PRIMARY KEY, code text, code_length int GENERATED ALWAYS AS (length(code)) STORED)";
    assert_refused_plan(
        set_up,
        &plan,
        reason,
        Some("INSERT INTO items VALUES (1, 'a')"),
    );
}

#[test]
fn c35_a_missing_masked_column() {
    assert_refused_rules(
        Policy {
            mask: columns(["ssn"]).unwrap(),
            ..Policy::default()
        },
        "table public.items has no column ssn",
    );
}

#[test]
fn c35_a_missing_excluded_column() {
    assert_refused_rules(
        Policy {
            exclude: columns(["ssn"]).unwrap(),
            ..Policy::default()
        },
        "table public.items has no column ssn",
    );
}

#[test]
fn c35_a_missing_except_column() {
    assert_refused_rules(
        Policy {
            except_columns: columns(["ssn"]).unwrap(),
            ..Policy::default()
        },
        "table public.items has no column ssn",
    );
}

#[test]
fn c35_a_redacted_key_from_the_catalog() {
    assert_refused_rules(
        Policy {
            mask: columns(["id"]).unwrap(),
            ..Policy::default()
        },
        "key column id of table public.items can't be excluded or masked",
    );
}

#[test]
fn c35_a_column_computed_from_a_redacted_one() {
    assert_refused_rules(
        Policy {
            mask: columns(["code"]).unwrap(),
            ..Policy::default()
        },
        "column code_length of table public.items is computed from the redacted column code",
    );
}

#[test]
fn c35_every_kind_of_good_key_is_accepted() {
    for (table, create, key) in [
        ("a", "CREATE TABLE a (id int PRIMARY KEY)", &["id"][..]),
        ("b", "CREATE TABLE b (id int NOT NULL UNIQUE)", &["id"]),
        (
            "c",
            "CREATE TABLE c (id int NOT NULL, x int); CREATE UNIQUE INDEX ON c (id) INCLUDE (x)",
            &["id"],
        ),
        (
            "d",
            "CREATE TABLE d (b text, a int, PRIMARY KEY (b, a))",
            &["a", "b"],
        ),
        (
            "e",
            "CREATE TABLE e (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)",
            &["id"],
        ),
        (
            "f",
            "CREATE TABLE f (id numeric(20, 0) PRIMARY KEY)",
            &["id"],
        ),
    ] {
        let db = TestDb::new();
        db.create(create);
        let definition = match key {
            ["id"] => Definition::new("Model", &["id"]),
            _ => Definition::new("Model", &["a", "b"]),
        };
        db.capture(table, definition);
    }
}

/// Without the migration's own limit the test fails instead of waiting for ever.
const NO_HANG: &str = "SET statement_timeout = '30s'";

fn assert_gives_up(sql: &str) {
    let db = TestDb::new();
    db.create("CREATE TABLE items (id int PRIMARY KEY)");
    let mut writer = db.app();
    execute(&mut writer, &format!("BEGIN; {sql}"));
    let mut owner = db.owner();
    execute(&mut owner, NO_HANG);
    let error = try_execute(
        &mut owner,
        &keyed("items", &["id"]).up_sql(&Storage::default()),
    )
    .unwrap_err();
    assert!(
        error.contains("table items stayed in use for 2s\nRun the migration again"),
        "{error}"
    );
    assert_nothing_left(&db);
    assert_eq!(
        value(&mut owner, "SELECT current_setting('lock_timeout')"),
        json!("0"),
        "the setting was the migration's own"
    );
    // The transaction that it waited for never noticed.
    execute(&mut writer, "INSERT INTO items VALUES (2); COMMIT");
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_changes"),
        json!(0)
    );
    db.capture("items", Definition::new("Item", &["id"]));
    execute(&mut writer, "INSERT INTO items VALUES (3)");
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_changes"),
        json!(1)
    );
}

#[test]
fn c35_a_migration_gives_up_behind_an_open_writer() {
    assert_gives_up("INSERT INTO items VALUES (1)");
}

#[test]
fn c35_a_release_gives_up_behind_an_open_writer_and_capture_goes_on() {
    let db = TestDb::new();
    db.audited("items", "CREATE TABLE items (id int PRIMARY KEY)");
    let mut writer = db.app();
    execute(&mut writer, "BEGIN; INSERT INTO items VALUES (1)");
    let mut owner = db.owner();
    execute(&mut owner, NO_HANG);
    let error = try_execute(
        &mut owner,
        &keyed("items", &["id"]).down_sql(&Storage::default()),
    )
    .unwrap_err();
    assert!(
        error.contains("table items stayed in use for 2s\nRun the migration again"),
        "{error}"
    );
    execute(
        &mut writer,
        "INSERT INTO items VALUES (2); COMMIT; INSERT INTO items VALUES (3)",
    );
    assert_eq!(
        value(&mut db.auditor(), "SELECT count(*) FROM audit_changes"),
        json!(3)
    );
}
