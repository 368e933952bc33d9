//! The DDL guard: what DDL does is noted as it happens, and what would end capture is refused.

use serde_json::json;
use threadline::Level;
use threadline_tests::{TestDb, execute, try_execute, value};

use super::case::*;

fn guarded() -> TestDb {
    let db = TestDb::guarded();
    db.create("CREATE TABLE pay (id int PRIMARY KEY, salary int, name text)");
    capture(&db, "pay", Level::Row).unwrap();
    execute(
        &mut db.app(),
        "INSERT INTO pay VALUES (1, 5, 'ann'), (2, 7, 'ben')",
    );
    db
}

#[test]
fn c42_guard_what_was_known_before_stays_known() {
    let steps = |between: &'static str| {
        pay(vec![
            Sql("UPDATE pay SET salary = 6 WHERE id = 1"),
            Note,
            Sql(between),
            Note,
            Sql("UPDATE pay SET salary = 9"),
            Note,
        ])
    };
    let retyped = "ALTER TABLE pay ALTER salary TYPE bigint USING salary * 100";
    let known = asked(BOTH, "pay", &steps(retyped));
    assert_eq!(omitted(&known), [2, 2, 2, 2]);
    let known = asked_guarded(BOTH, "pay", &steps(retyped)).unwrap();
    assert_eq!(omitted(&known), [0, 0, 2, 0]);
    assert_eq!(whole(&known), [true, true, false, true]);

    let inherited = "CREATE TABLE bonus (LIKE pay); INSERT INTO bonus VALUES (3, 3, '', 'cy'); ALTER TABLE bonus INHERIT pay; ALTER TABLE bonus NO INHERIT pay";
    let known = asked_guarded(&[Level::Row], "pay", &steps(inherited)).unwrap();
    assert_eq!(rows(&known), [(2, 0), (2, 0), (0, 2), (2, 0)]);
}

#[test]
fn c42_guard_what_would_end_capture_is_refused() {
    let db = guarded();
    for ddl in [
        "DROP TABLE pay",
        "DROP TABLE pay CASCADE",
        "ALTER TABLE pay DISABLE TRIGGER USER",
        "ALTER TABLE pay DISABLE TRIGGER \"!threadline\"",
        "ALTER TABLE pay ENABLE REPLICA TRIGGER \"!threadline\"",
        "DROP TRIGGER \"!threadline\" ON pay",
        "DROP TRIGGER \"!threadline_truncate\" ON pay",
        "ALTER TRIGGER \"!threadline\" ON pay RENAME TO later",
        "DROP FUNCTION threadline_capture_1() CASCADE",
        "SET session_replication_role = replica; DROP TABLE pay",
        "BEGIN; SAVEPOINT s; DROP TABLE pay; COMMIT",
        "DO $$ BEGIN DROP TABLE pay; END $$",
    ] {
        let refusal = try_execute(&mut db.superuser(), ddl).expect_err(ddl);
        assert!(
            refusal.contains("would end the capture of table public.pay, and its history would not say so\nFirst run: SELECT public.threadline_release('public.pay');"),
            "{ddl}: {refusal}"
        );
    }
    db.create(
        "CREATE TABLE events (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE first PARTITION OF events FOR VALUES FROM (0) TO (10)",
    );
    capture(&db, "events", Level::Row).unwrap();
    let mut owner = db.owner();
    let refusal = try_execute(&mut owner, "ALTER TABLE first DISABLE TRIGGER USER").unwrap_err();
    assert!(
        refusal.contains("would end the capture of table public.events"),
        "{refusal}"
    );
    execute(&mut db.app(), "UPDATE pay SET salary = 8 WHERE id = 1");
    execute(&mut db.superuser(), "SELECT threadline_release('pay')");
    execute(&mut owner, "DROP TABLE pay");
}

/// Capture changes its own triggers.
#[test]
fn c42_guard_capture_is_let_through() {
    let db = guarded();
    capture(&db, "pay", Level::Statement).unwrap();
    capture(&db, "pay", Level::Row).unwrap();
    db.create(
        "CREATE TABLE events (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE first PARTITION OF events FOR VALUES FROM (0) TO (10)",
    );
    capture(&db, "events", Level::Row).unwrap();
    execute(&mut db.superuser(), "SELECT threadline_detach('first')");
    let open = "SELECT count(*) FROM audit_tables WHERE identity ? 'changing' OR gaps <> '{}'";
    assert_eq!(value(&mut db.superuser(), &format!("({open})")), json!(0));
}

#[test]
fn c42_guard_ddl_is_an_action() {
    let db = guarded();
    let mut owner = db.owner();
    for ddl in [
        "ALTER TABLE pay ALTER salary TYPE bigint USING salary * 100",
        "ALTER TABLE pay ADD note text DEFAULT 'a secret'",
        "CREATE INDEX ON pay (name)",
        "CREATE TABLE other (id int)",
        "CREATE TEMP TABLE pay (id int)",
    ] {
        execute(&mut owner, ddl);
    }
    let actions = "(SELECT jsonb_agg(jsonb_build_array(a.verb, a.comment, a.reason, a.session_user_name) ORDER BY a.inserted_at)
                    FROM audit_actions a WHERE a.name = 'threadline.ddl')";
    assert_eq!(
        value(&mut db.superuser(), actions),
        json!([
            ["alter table", "public.pay", "salary", "tl_owner"],
            ["alter table", "public.pay", null, "tl_owner"],
            ["create index", "public.pay", null, "tl_owner"],
        ])
    );
    let literals = "(SELECT count(*) FROM audit_actions a WHERE to_jsonb(a)::text ~ 'secret|100')";
    assert_eq!(value(&mut db.superuser(), literals), json!(0));
}

#[test]
fn c42_guard_refuses_what_makes_something_unknown_where_that_is_asked_for() {
    let db = guarded();
    let mut owner = db.owner();
    execute(&mut owner, "SET threadline.ddl = 'refuse'");
    for (ddl, unknown) in [
        ("ALTER TABLE pay ALTER salary TYPE bigint", "salary"),
        ("CREATE TABLE bonus () INHERITS (pay)", "rows"),
    ] {
        let refusal = try_execute(&mut owner, ddl).unwrap_err();
        let expected = format!(
            "what table public.pay had before: {unknown}\nIf it may be: SET LOCAL threadline.ddl = 'gap';"
        );
        assert!(refusal.contains(&expected), "{refusal}");
    }
    execute(&mut owner, "ALTER TABLE pay ADD note text");
    execute(&mut owner, "SET threadline.ddl = 'perhaps'");
    let refusal = try_execute(&mut owner, "ALTER TABLE pay ADD other text").unwrap_err();
    assert!(
        refusal.contains("threadline.ddl is gap or refuse, not perhaps"),
        "{refusal}"
    );
    execute(&mut owner, "CREATE TABLE elsewhere (id int)");
}

/// Then nobody knows when what it didn't see happened.
#[test]
fn c42_guard_that_was_off_for_a_while() {
    let db = guarded();
    let steps = |ddl: &str| {
        format!(
            "ALTER EVENT TRIGGER threadline_ddl_end DISABLE; {ddl}; ALTER EVENT TRIGGER threadline_ddl_end ENABLE ALWAYS"
        )
    };
    execute(
        &mut db.superuser(),
        &steps("ALTER TABLE pay ALTER salary TYPE bigint"),
    );
    execute(&mut db.owner(), "ALTER TABLE pay ADD note text");
    let gap = "(SELECT lower((identity -> 'column_gaps' -> 'salary' ->> 0)::tstzrange) = installed_at FROM audit_tables)";
    assert_eq!(value(&mut db.superuser(), gap), json!(true));
}

/// The guard runs as the owner of the log, whoever alters a table.
#[test]
fn c42_guard_is_for_a_log_of_a_superuser() {
    let guards = "(SELECT count(*) FROM pg_event_trigger)";
    assert_eq!(value(&mut TestDb::new().superuser(), guards), json!(0));
    let db = guarded();
    let mut superuser = db.superuser();
    assert_eq!(value(&mut superuser, guards), json!(2));
    execute(&mut superuser, "SELECT threadline_protect_v1('tl_owner')");
    assert_eq!(value(&mut superuser, guards), json!(0));
    execute(&mut superuser, "SELECT threadline_protect_v1('postgres')");
    assert_eq!(value(&mut superuser, guards), json!(2));
}
