//! The log under a role of its own.

use super::*;

#[test]
fn a_role_for_the_log_is_made_by_a_migrator_who_may() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    let application = migrator.application(&[]);
    application.run(&mut migrator.connect());
    migrator.assert_works("public");
    let role = format!(
        "SELECT rolcanlogin FROM pg_roles WHERE rolname = '{}'",
        migrator.log_owner()
    );
    assert_eq!(value(&mut db.superuser(), &role), Value::Bool(false));
}

#[test]
fn a_role_for_the_log_is_made_by_an_administrator() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "NOCREATEROLE");
    let application = migrator.application(&[]);
    let refusal = migrator
        .connect()
        .run_pending_migrations(application.source())
        .unwrap_err()
        .to_string();

    // The message says what the administrator is to run.
    let (_, advice) = refusal.split_once("Let an administrator run: ").unwrap();
    let expected = format!(
        "CREATE ROLE {log} NOLOGIN; GRANT {log} TO {migrator};",
        log = migrator.log_owner(),
        migrator = migrator.name()
    );
    assert_eq!(advice.trim(), expected, "{refusal}");
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'audit\\_%'";
    assert_eq!(value(&mut db.superuser(), left), 0);

    execute(&mut db.superuser(), &expected);
    application.run(&mut migrator.connect());
    migrator.assert_works("public");
}

#[test]
fn a_role_that_the_migrator_is_no_member_of() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "NOCREATEROLE");
    let log = migrator.log_owner();
    execute(&mut db.superuser(), &format!("CREATE ROLE {log} NOLOGIN"));
    let application = migrator.application(&[]);
    let refusal = migrator
        .connect()
        .run_pending_migrations(application.source())
        .unwrap_err()
        .to_string();
    let advice = format!(
        "Let an administrator run: GRANT {log} TO {};",
        migrator.name()
    );
    assert!(refusal.contains(&advice), "{refusal}");
}

#[test]
fn a_schema_and_a_role_of_its_own() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    let application = migrator.application(&["--schema", "audit"]);
    application.run(&mut migrator.connect());
    migrator.assert_works("audit");
}

#[test]
fn a_log_with_a_role_of_its_own_is_rolled_back() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    let application = migrator.application(&[]);
    let mut conn = migrator.connect();
    application.run(&mut conn);
    execute(&mut db.app(), "INSERT INTO shop.items VALUES (1, 1)");
    conn.revert_last_migration(application.source()).unwrap();
    execute(&mut db.app(), "UPDATE shop.items SET n = 2");
    conn.revert_last_migration(application.source())
        .unwrap_err();
    application.run(&mut conn);
    execute(&mut db.app(), "UPDATE shop.items SET n = 3");
    assert_eq!(value(&mut conn, "SELECT count(*) FROM audit_changes"), 2);

    execute(&mut conn, "SET threadline.drop_log = 'yes'");
    conn.revert_all_migrations(application.source()).unwrap();
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'audit\\_%'";
    assert_eq!(value(&mut conn, left), 0);
    execute(&mut conn, "TRUNCATE shop.items");
    application.run(&mut conn);
    migrator.assert_works("public");
}

/// The role that C30 is about: it owns the application's tables, and the log is not its own.
#[test]
fn who_owns_the_table_cannot_touch_the_log() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    let application = migrator.application(&[]);
    application.run(&mut migrator.connect());
    let shop = format!("{}_shop", db.name());
    execute(
        &mut db.superuser(),
        &format!(
            "CREATE ROLE {shop} LOGIN; ALTER SCHEMA shop OWNER TO {shop}; ALTER TABLE shop.items OWNER TO {shop}"
        ),
    );
    let mut owner = PgConnection::establish(&db.url(&shop)).unwrap();
    execute(&mut owner, "INSERT INTO shop.items VALUES (1, 1)");

    let log = migrator.log_owner();
    for attack in [
        "SELECT FROM audit_changes",
        "INSERT INTO audit_changes SELECT",
        "UPDATE audit_changes SET op = 'delete'",
        "UPDATE audit_transactions SET actor_ref = '{}'",
        "DELETE FROM audit_changes",
        "TRUNCATE audit_changes",
        "ALTER TABLE audit_changes DISABLE TRIGGER ALL",
        "ALTER TABLE audit_changes DISABLE TRIGGER threadline_guard",
        "ALTER TABLE audit_changes DROP COLUMN op",
        "ALTER TABLE audit_changes OWNER TO CURRENT_USER",
        "DROP TRIGGER threadline_guard ON audit_changes",
        "DROP TABLE audit_changes",
        "UPDATE audit_tables SET horizon = '-infinity'",
        "ALTER SEQUENCE audit_changes_id_seq RESTART",
        "SELECT setval('audit_changes_id_seq', 1)",
        "DROP FUNCTION threadline_guard_v1()",
        "ALTER FUNCTION threadline_seal_v1() OWNER TO CURRENT_USER",
        "CREATE OR REPLACE FUNCTION threadline_capture_1() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER forged AFTER INSERT ON shop.items FOR EACH ROW EXECUTE FUNCTION threadline_capture_1()",
        "SELECT threadline_release_v1('shop.items', 'items', '1s')",
        &format!("SET ROLE {log}"),
        &format!("GRANT {log} TO CURRENT_USER"),
    ] {
        let refusal = try_execute(&mut owner, attack).expect_err(attack);
        let expected = [
            "permission denied",
            "must be owner",
            "must be member",
            "must have admin",
        ];
        assert!(
            expected.iter().any(|text| refusal.contains(text)),
            "{attack}: {refusal}"
        );
    }
    execute(&mut owner, "UPDATE shop.items SET n = 2");
    let changes = "SELECT jsonb_agg(op ORDER BY id) FROM audit_changes";
    assert_eq!(
        value(&mut migrator.connect(), changes),
        json!(["insert", "update"])
    );
}

/// The log's owner looks at a row again when triggers overtook each other, and has to be able to.
#[test]
fn a_schema_that_the_log_s_owner_may_not_look_into() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    execute(&mut db.superuser(), "ALTER SCHEMA shop OWNER TO postgres");
    execute(
        &mut db.superuser(),
        &format!("GRANT USAGE, CREATE ON SCHEMA shop TO {}", migrator.name()),
    );
    let application = migrator.application(&[]);
    let mut conn = migrator.connect();
    let refusal = conn
        .run_pending_migrations(application.source())
        .unwrap_err()
        .to_string();
    let log = migrator.log_owner();
    let advice = format!("Let the owner of the schema run: GRANT USAGE ON SCHEMA shop TO {log};");
    assert!(refusal.contains(&advice), "{refusal}");
    execute(
        &mut db.app(),
        "INSERT INTO shop.items VALUES (1, 1); DELETE FROM shop.items",
    );

    execute(
        &mut db.superuser(),
        &format!("GRANT USAGE ON SCHEMA shop TO {log}"),
    );
    application.run(&mut conn);
    migrator.assert_works("public");
}

/// A policy that hides the row would make the log say that it is gone.
#[test]
fn row_level_security_does_not_falsify_the_log() {
    let db = TestDb::empty();
    let migrator = Migrator::new(&db, "CREATEROLE");
    execute(&mut migrator.connect(), NESTED);
    let application = migrator.application(&[]);
    application.run(&mut migrator.connect());
    execute(
        &mut migrator.connect(),
        "ALTER TABLE shop.items ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON shop.items TO tl_app USING (true)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO shop.items VALUES (1, 1), (2, 2)",
    );
    let refusal = try_execute(&mut db.app(), "UPDATE shop.items SET n = n + 1").unwrap_err();
    assert!(
        refusal.contains("row-level security policy for table \"items\""),
        "{refusal}"
    );

    execute(
        &mut db.superuser(),
        &format!("ALTER ROLE {} BYPASSRLS", migrator.log_owner()),
    );
    execute(&mut db.app(), "UPDATE shop.items SET n = n + 1");
    migrator.assert_newest_images("public");
}
