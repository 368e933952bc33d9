//! Each command, on databases in each state.

use super::*;

#[test]
fn a_fresh_database() {
    let Some(app) = Application::new(TestDb::empty()) else {
        return;
    };
    assert_eq!(app.applied(), NONE);
    app.diesel(&["migration", "run"]).unwrap();
    assert_eq!(app.applied(), app.migrations());
    assert_eq!(app.captured(), ["customers", "invoice_lines", "invoices"]);
    assert_eq!(app.diesel(&["migration", "run"]).unwrap(), "");

    // The filter of diesel.toml leaves the application's tables.
    let schema = std::fs::read_to_string(quickstart().join("src/schema.rs")).unwrap();
    assert_eq!(app.diesel(&["print-schema"]).unwrap(), schema);
    let written = std::fs::read_to_string(app.dir.path().join("src/schema.rs")).unwrap();
    assert_eq!(written, schema);

    app.diesel(&["migration", "redo"]).unwrap();
    app.diesel(&["migration", "redo", "--all"]).unwrap();
    assert_eq!(app.applied(), app.migrations());
    assert_eq!(app.captured(), ["customers", "invoice_lines", "invoices"]);

    app.sign_up(1);
    assert_eq!(app.recorded(), ["customers", "invoice_lines", "invoices"]);
}

#[test]
fn a_fresh_database_is_as_before_after_revert() {
    let Some(app) = Application::new(TestDb::empty()) else {
        return;
    };
    app.diesel(&["migration", "run"]).unwrap();
    app.diesel(&["migration", "revert"]).unwrap();
    assert_eq!(app.captured(), ["customers", "invoices"]);
    app.diesel(&["migration", "revert", "--all"]).unwrap();
    assert_eq!(app.applied(), NONE);
    let left = "SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
                UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
                UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace";
    let ours = rows(&mut app.db.owner(), left).into_iter().filter(|row| {
        !row["name"]
            .as_str()
            .unwrap()
            .contains("__diesel_schema_migrations")
    });
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<Value>::new());

    app.diesel(&["migration", "run"]).unwrap();
    app.sign_up(1);
    assert_eq!(app.recorded(), ["customers", "invoice_lines", "invoices"]);
}

#[test]
fn a_database_that_was_migrated_by_code() {
    let Some(app) = Application::new(TestDb::empty()) else {
        return;
    };
    app.db
        .owner()
        .run_pending_migrations(example_quickstart::MIGRATIONS)
        .unwrap();
    assert_eq!(app.applied(), app.migrations());
    assert_eq!(app.diesel(&["migration", "run"]).unwrap(), "");
    app.diesel(&["migration", "redo"]).unwrap();
    app.sign_up(1);
    assert_eq!(app.recorded(), ["customers", "invoice_lines", "invoices"]);
}

#[test]
fn a_database_that_has_the_audit_schema_already() {
    let Some(app) = Application::new(TestDb::new()) else {
        return;
    };
    app.db
        .audited("notes", "CREATE TABLE notes (id int PRIMARY KEY)");
    execute(&mut app.db.app(), "INSERT INTO notes VALUES (1)");
    app.diesel(&["migration", "run"]).unwrap();
    execute(&mut app.db.app(), "INSERT INTO notes VALUES (2)");
    app.sign_up(1);
    assert_eq!(
        app.recorded(),
        ["customers", "invoice_lines", "invoices", "notes", "notes"]
    );
}

#[test]
fn reverting_the_newest_capture_ends_it_and_no_other() {
    let Some(app) = Application::migrated() else {
        return;
    };
    app.sign_up(1);
    app.diesel(&["migration", "revert"]).unwrap();
    assert_eq!(app.captured(), ["customers", "invoices"]);
    app.sign_up(2);
    assert_eq!(
        app.recorded(),
        [
            "customers",
            "customers",
            "invoice_lines",
            "invoices",
            "invoices"
        ]
    );

    app.diesel(&["migration", "run"]).unwrap();
    app.sign_up(3);
    assert_eq!(
        app.history("invoice_lines"),
        [json!("1"), json!("3")],
        "what came before the pause stays"
    );
    assert_eq!(app.closed_gaps("invoice_lines"), 1);
    assert_eq!(app.closed_gaps("customers"), 0);
}

#[test]
fn redo_of_a_capture_keeps_the_history_and_records_a_gap() {
    let Some(app) = Application::migrated() else {
        return;
    };
    app.sign_up(1);
    for gaps in 1..3 {
        app.diesel(&["migration", "redo"]).unwrap();
        assert_eq!(app.closed_gaps("invoice_lines"), gaps);
        assert_eq!(app.history("invoice_lines"), [json!("1")]);
    }
    app.sign_up(2);
    assert_eq!(app.history("invoice_lines"), [json!("1"), json!("2")]);

    // A row from before a gap may have changed in it unseen.
    let outcome = value(
        &mut app.db.owner(),
        r#"SELECT outcome FROM threadline_as_of('invoice_lines', '{"invoice_id": 1, "position": 1}', now())"#,
    );
    assert_eq!(outcome, "unknown");
}

#[test]
fn reverting_a_changed_policy_brings_the_earlier_one_back() {
    #[derive(Audited)]
    #[diesel(table_name = example_quickstart::schema::customers)]
    #[audited(exclude(password_hash), mask(tax_id, email))]
    struct Customer;

    let Some(app) = Application::migrated() else {
        return;
    };
    app.sign_up(1);
    app.threadline(threadline::models![Customer], &["generate"]);
    assert_eq!(app.migrations().len(), 6);
    let trigger = "SELECT oid::bigint FROM pg_trigger WHERE tgname = '!threadline' AND tgrelid = 'customers'::regclass";
    let before = value(&mut app.db.owner(), trigger);

    app.diesel(&["migration", "run"]).unwrap();
    app.sign_up(2);
    app.diesel(&["migration", "revert"]).unwrap();
    app.sign_up(3);
    app.diesel(&["migration", "redo"]).unwrap();
    app.diesel(&["migration", "run"]).unwrap();
    app.diesel(&["migration", "redo"]).unwrap();
    app.sign_up(4);

    let logged = rows(
        &mut app.db.owner(),
        "SELECT table_pk ->> 'id' AS id, data_after ->> 'email' AS email, data_after ->> 'tax_id' AS tax,
                data_after ? 'password_hash' AS password
         FROM audit_changes WHERE table_name = 'customers' ORDER BY id",
    );
    let line = |id: &str, email: &str| json!({"id": id, "email": email, "tax": "[REDACTED]", "password": false});
    assert_eq!(
        logged,
        [
            line("1", "one@example"),
            line("2", "[REDACTED]"),
            line("3", "one@example"),
            line("4", "[REDACTED]"),
        ]
    );
    assert_eq!(value(&mut app.db.owner(), trigger), before);
    assert_eq!(app.closed_gaps("customers"), 0);
}

#[test]
fn a_log_that_holds_something_stays() {
    let Some(app) = Application::migrated() else {
        return;
    };
    app.sign_up(1);
    let tables = ["customers", "invoice_lines", "invoices"];

    // One transaction: all of it is undone.
    let refusal = app.diesel(&["migration", "redo", "--all"]).unwrap_err();
    assert!(
        refusal.contains(&format!("Failed to run {INSTALL} with: {NOT_EMPTY}")),
        "{refusal}"
    );
    assert_eq!(app.applied(), app.migrations());
    assert_eq!(app.captured(), tables);
    assert_eq!(app.closed_gaps("customers"), 0);

    // A transaction each: the captures are over, the log and the application's tables stay.
    let refusal = app.diesel(&["migration", "revert", "--all"]).unwrap_err();
    assert!(refusal.contains(NOT_EMPTY), "{refusal}");
    assert_eq!(app.applied(), app.migrations()[..2]);
    app.sign_up(2);
    assert_eq!(app.recorded(), tables);

    // And the way back from there is the usual one.
    app.diesel(&["migration", "run"]).unwrap();
    assert_eq!(app.captured(), tables);
    app.sign_up(3);
    assert_eq!(app.history("customers"), [json!("1"), json!("3")]);

    // As is the way on, for whoever says so.
    let drop_log = ("PGOPTIONS", "-c threadline.drop_log=yes");
    app.diesel_with(&[drop_log], &["migration", "redo", "--all"])
        .unwrap();
    assert_eq!(app.recorded(), NONE);
    app.sign_up(1);
    assert_eq!(app.recorded(), tables);
    app.diesel_with(&[drop_log], &["migration", "revert", "--all"])
        .unwrap();
    assert_eq!(app.applied(), NONE);
}

/// What Diesel shows of it: a hint would be lost.
const NOT_EMPTY: &str = "threadline: the audit log is not empty and stays\n\
    Export it first; then revert with PGOPTIONS='-c threadline.drop_log=yes'.";

#[test]
fn a_misspelt_table_stops_its_own_migration_only() {
    let Some(app) = Application::migrated() else {
        return;
    };
    app.threadline(
        threadline::models![],
        &["generate", "--tables", "custmoers"],
    );
    let refusal = app.diesel(&["migration", "run"]).unwrap_err();
    assert!(
        refusal.contains(
            "_threadline_capture_custmoers with: threadline: table custmoers does not exist\n\
             Create it in an earlier migration, or correct its name or schema in the model. \
             Should you generate the migration again, remove this one first."
        ),
        "{refusal}"
    );
    assert_eq!(app.applied().last().unwrap(), NEWEST);
    app.sign_up(1);
    assert_eq!(app.recorded(), ["customers", "invoice_lines", "invoices"]);

    let misspelt = app.migrations().pop().unwrap();
    std::fs::remove_dir_all(app.dir.path().join("migrations").join(misspelt)).unwrap();
    assert_eq!(app.diesel(&["migration", "run"]).unwrap(), "");
}

#[test]
fn a_table_in_use_is_named_and_captured_later() {
    let Some(app) = Application::new(TestDb::empty()) else {
        return;
    };
    for migration in app.migrations() {
        if migration.as_str() > INSTALL {
            app.set_aside(&migration);
        }
    }
    app.diesel(&["migration", "run"]).unwrap();
    app.bring_back(CUSTOMERS);

    let mut writer = app.db.owner();
    execute(&mut writer, "BEGIN");
    execute(&mut writer, "LOCK TABLE customers IN ROW EXCLUSIVE MODE");
    let refusal = app.diesel(&["migration", "run"]).unwrap_err();
    let in_use = "threadline: table customers stayed in use for 2s\n\
        Run the migration again when the transactions that use it have ended.";
    assert!(refusal.contains(in_use), "{refusal}");
    execute(&mut writer, "COMMIT");
    app.diesel(&["migration", "run"]).unwrap();
    assert_eq!(app.captured(), ["customers"]);

    execute(&mut writer, "BEGIN");
    execute(&mut writer, "LOCK TABLE customers IN ROW EXCLUSIVE MODE");
    let refusal = app.diesel(&["migration", "revert"]).unwrap_err();
    assert!(refusal.contains(in_use), "{refusal}");
    assert_eq!(app.captured(), ["customers"]);
    execute(&mut writer, "COMMIT");
    app.diesel(&["migration", "revert"]).unwrap();
    assert_eq!(app.captured(), NONE);
}
