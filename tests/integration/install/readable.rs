//! The owner of the log has to be able to read a captured table, all of it: said when it is captured, not when it is written.

use threadline::capture::{CapturePlan, Storage};
use threadline::{Definition, Truncate};

use super::*;

fn capture(conn: &mut PgConnection) -> Result<(), String> {
    let storage = Storage::default();
    let sql = threadline::models![Item].plans().unwrap()[0].up_sql(&storage);
    try_execute(conn, &sql).map(|_| ())
}

#[track_caller]
fn assert_advice(refusal: &str, problem: &str, advice: &str) {
    assert!(
        refusal.contains(problem) && refusal.contains(advice),
        "{problem} / {advice}: {refusal}"
    );
}

/// R14: the log's owner is no member of the table's, so its policies apply to it.
#[test]
fn a_table_whose_rows_are_hidden_from_the_owner_of_the_log() {
    for remedy in ["ALTER ROLE {log} BYPASSRLS", "GRANT {shop} TO {log}"] {
        let db = TestDb::empty();
        let migrator = Migrator::new(&db, "CREATEROLE");
        let (log, shop) = (migrator.log_owner(), format!("{}_shop", db.name()));
        let mut superuser = db.superuser();
        execute(
            &mut superuser,
            &format!(
                "CREATE ROLE {shop} LOGIN; GRANT {shop} TO {name} WITH ADMIN OPTION; GRANT CREATE, USAGE ON SCHEMA shop TO {shop};
                 ALTER TABLE shop.items OWNER TO {shop}; ALTER TABLE shop.items ENABLE ROW LEVEL SECURITY;
                 CREATE POLICY own ON shop.items TO tl_app USING (true)",
                name = migrator.name()
            ),
        );
        execute(&mut migrator.connect(), NESTED);
        let application = migrator.application(&[]);
        let refusal = migrator
            .connect()
            .run_pending_migrations(application.source())
            .unwrap_err()
            .to_string();
        let remedy = remedy.replace("{log}", &log).replace("{shop}", &shop);
        let problem = format!(
            "row level security hides rows of table shop.items from role {log}, which owns the log"
        );
        assert_advice(&refusal, &problem, &format!("{remedy};"));
        // Writes go on, uncaptured.
        execute(
            &mut db.app(),
            "INSERT INTO shop.items VALUES (1, 1); UPDATE shop.items SET n = 2; DELETE FROM shop.items",
        );

        execute(&mut superuser, &remedy);
        application.run(&mut migrator.connect());
        execute(
            &mut db.app(),
            "INSERT INTO shop.items VALUES (1, 1), (2, 2); UPDATE shop.items SET n = n + 1",
        );
        migrator.assert_newest_images("public");
    }
}

/// Without a role for the log, FORCE hides rows from the table's owner, who owns the log too.
#[test]
fn a_table_that_forces_its_policies_on_its_owner() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    let application = Application::new(&[]);
    execute(
        &mut migrator.connect(),
        "ALTER TABLE shop.items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    );
    let refusal = migrator
        .connect()
        .run_pending_migrations(application.source())
        .unwrap_err()
        .to_string();
    let advice = format!("ALTER ROLE {} BYPASSRLS;", migrator.name());
    assert_advice(&refusal, "row level security hides rows", &advice);
    execute(&mut db.superuser(), &advice);
    application.run(&mut migrator.connect());
}

/// R14: the table went to another owner, and with it the right to read it.
#[test]
fn a_table_that_the_owner_of_the_log_may_not_read() {
    for with_owner in [false, true] {
        let db = TestDb::empty();
        let migrator = Migrator::new(&db, "CREATEROLE");
        let application = if with_owner {
            migrator.application(&[])
        } else {
            Application::new(&[])
        };
        application.run(&mut migrator.connect());
        let shop = format!("{}_shop", db.name());
        let log = if with_owner {
            migrator.log_owner()
        } else {
            migrator.name()
        };
        execute(
            &mut db.superuser(),
            &format!(
                "CREATE ROLE {shop}; ALTER TABLE shop.items OWNER TO {shop}; REVOKE ALL ON shop.items FROM {log}; GRANT USAGE ON SCHEMA shop TO {shop}"
            ),
        );
        // Its function is replaced by a member of the log's owner, who can't grant what is another's.
        let refusal = capture(&mut migrator.connect()).unwrap_err();
        let problem = format!("role {log}, which owns the log, may not read table shop.items");
        let advice = format!("GRANT SELECT ON shop.items TO {log};");
        assert_advice(&refusal, &problem, &advice);

        // A superuser grants it with the capture.
        capture(&mut db.superuser()).unwrap();
        let readable = format!("SELECT has_table_privilege('{log}', 'shop.items', 'SELECT')");
        assert_eq!(value(&mut db.superuser(), &readable), true);
    }
}

/// What is truncated is read from the partition, on which nobody has granted anything.
#[test]
fn the_rows_of_a_truncated_partition_are_recorded() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    migrator.application(&[]).run(&mut migrator.connect());
    let plan = CapturePlan::for_definition(
        "shop.events".parse().unwrap(),
        &Definition::new("Event", &["id", "day"]).truncate(Truncate::Rows),
    )
    .unwrap();
    let mut owner = migrator.connect();
    execute(
        &mut owner,
        "CREATE TABLE shop.events (id bigint, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
         CREATE TABLE shop.events_2026 PARTITION OF shop.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    );
    execute(&mut owner, &plan.up_sql(&Storage::default()));
    execute(
        &mut owner,
        "INSERT INTO shop.events VALUES (1, '2026-03-15'); TRUNCATE shop.events_2026",
    );
    let recorded =
        "SELECT string_agg(op, ' ' ORDER BY id) FROM audit_changes WHERE table_name = 'events'";
    assert_eq!(value(&mut db.superuser(), recorded), "insert delete");
}
