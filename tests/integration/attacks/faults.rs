//! Faults and settings of every kind that the log has always withstood.

use super::held::items;
use super::*;
use threadline_tests::log::{assert_newest_images_equal_table, assert_nothing_is_orphaned};
use threadline_tests::wait_for;

on_both_kinds!(
    settings_of_the_session_change_nothing,
    a_prepared_transaction_with_an_action,
    many_subtransactions,
    a_session_that_is_ended_in_the_middle,
    readers_that_may_only_read,
    a_table_that_is_written_anew,
);

/// What is stored is the same in every session. How a regclass prints is not among it.
fn settings_of_the_session_change_nothing(db: &TestDb) {
    items(db);
    let settings = [
        "timezone = 'Pacific/Kiritimati'",
        "datestyle = 'German'",
        "intervalstyle = 'sql_standard'",
        "array_nulls = off",
        "plpgsql.extra_errors = 'all'",
        "plpgsql.extra_warnings = 'all'",
        "quote_all_identifiers = on",
        "standard_conforming_strings = off",
        "backslash_quote = off",
        "transform_null_equals = on",
        "extra_float_digits = -15",
        "lc_monetary = 'C'",
        "check_function_bodies = off",
        "plan_cache_mode = force_custom_plan",
        "plan_cache_mode = force_generic_plan",
        "default_transaction_isolation = 'serializable'",
        "constraint_exclusion = on",
        "enable_seqscan = off",
        "enable_indexscan = off",
        "row_security = off",
        "search_path = pg_temp",
        "search_path = ''",
        "client_min_messages = debug5",
        "xmloption = document",
        "plpgsql.check_asserts = off",
        "default_transaction_deferrable = on",
        "jit = on",
        "jit_above_cost = 0",
        "work_mem = '64kB'",
    ];
    let row = "'a', 1.10, '{a,b}', '2024-02-29 12:00:00+00', '1 day 02:00:00'";
    let mut app = db.app();
    execute(&mut app, "SELECT 1"); // loads nothing of plpgsql: its settings may come first
    execute(&mut app, "DO $$ BEGIN NULL; END $$");
    for (id, setting) in [""].iter().chain(&settings).enumerate() {
        let set = if setting.is_empty() {
            String::new()
        } else {
            format!("SET {setting};")
        };
        for sql in [
            format!("BEGIN; {set} INSERT INTO public.items VALUES ({id}, {row})"),
            format!("UPDATE public.items SET name = 'b', n = 1.1, tags = '{{c}}' WHERE id = {id}"),
            format!("UPDATE public.items SET id = id + 1000 WHERE id = {id}"),
            format!("DELETE FROM public.items WHERE id = {id} + 1000"),
            "COMMIT; RESET ALL".to_owned(),
        ] {
            try_execute(&mut app, &sql).unwrap_or_else(|error| panic!("with {setting}: {error}"));
        }
    }
    let stored = rows(
        &mut db.superuser(),
        "SELECT DISTINCT count(*) AS sessions, jsonb_agg(jsonb_build_object('op', op, 'after', data_after - 'id', 'fields', changed_fields, 'from', changed_from - 'id') ORDER BY id) AS changes
         FROM (SELECT c.*, (table_pk ->> 'id')::bigint % 1000 AS session FROM audit_changes c) c GROUP BY session",
    );
    assert_eq!(stored.len(), 1, "{stored:#?}");
    assert_eq!(stored[0]["sessions"], 5);
}

fn a_prepared_transaction_with_an_action(db: &TestDb) {
    items(db);
    let mut app = db.app();
    let name = db.name();
    execute(
        &mut app,
        "BEGIN; SELECT threadline_record_action_v1('prepared', requires_changes => true); INSERT INTO items VALUES (1);
         SAVEPOINT s; INSERT INTO items VALUES (2); SELECT threadline_record_action_v1('undone'); ROLLBACK TO s; INSERT INTO items VALUES (3)",
    );
    execute(&mut app, &format!("PREPARE TRANSACTION '{name}'"));
    execute(&mut app, "INSERT INTO items VALUES (4)");
    execute(&mut app, &format!("COMMIT PREPARED '{name}'"));
    assert_eq!(lines(db, "items"), ["insert 1", "insert 3", "insert 4"]);
    assert_nothing_is_orphaned(db);
    let actions = value(
        &mut db.superuser(),
        "SELECT array_agg(a.name) FROM audit_actions a JOIN audit_transactions t ON t.id = a.transaction_id",
    );
    assert_eq!(actions, json!(["prepared"]));
}

/// More than PostgreSQL keeps for each transaction in shared memory, seen from another session before and after.
fn many_subtransactions(db: &TestDb) {
    items(db);
    let mut app = db.app();
    let now = "SELECT to_jsonb(clock_timestamp()) #>> '{}'";
    execute(
        &mut app,
        "BEGIN; DO $$ BEGIN FOR i IN 1..300 LOOP BEGIN INSERT INTO items VALUES (i, 'a'); EXCEPTION WHEN OTHERS THEN RAISE; END; END LOOP; END $$",
    );
    let mut auditor = db.auditor();
    let at = value(&mut auditor, now);
    let at = at.as_str().unwrap();
    let seen = |auditor: &mut PgConnection| {
        value(
            auditor,
            &format!(
                "SELECT jsonb_build_array(threadline_settled('{at}'), (SELECT count(*) FROM threadline_history('items', '{{\"id\": 300}}')), (SELECT count(*) FROM audit_changes))"
            ),
        )
    };
    assert_eq!(seen(&mut auditor), json!([false, 0, 0]));
    execute(&mut app, "COMMIT");
    // Others of the cluster may be open for longer: whether it is settled then is theirs to say.
    let after = seen(&mut auditor);
    assert_eq!([&after[1], &after[2]], [&json!(1), &json!(300)]);
    // The table as of then, by the one name or the other.
    let table_as_of = value(
        &mut auditor,
        "SELECT proname FROM pg_proc WHERE proname IN ('threadline_moment', 'threadline_table_as_of')",
    );
    for (conn, role) in [(&mut auditor, "auditor"), (&mut db.owner(), "owner")] {
        let rows = format!(
            "SELECT count(*) FROM {}(NULL::items, 'items', '{at}')",
            table_as_of.as_str().unwrap()
        );
        assert_eq!(value(conn, &rows), 0, "as {role}");
    }
    assert_newest_images_equal_table(db, "items");
    assert_nothing_is_orphaned(db);
}

fn a_session_that_is_ended_in_the_middle(db: &TestDb) {
    items(db);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items VALUES (1); SET idle_in_transaction_session_timeout = '1ms'",
    );
    let pid = value(&mut app, "SELECT pg_backend_pid()");
    let _ = try_execute(
        &mut app,
        "BEGIN; UPDATE items SET name = 'x'; SELECT threadline_record_action_v1('never')",
    );
    let mut superuser = db.superuser();
    wait_for("the end of the session", || {
        let left = value(
            &mut superuser,
            &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"),
        );
        (left == 0).then_some(())
    });
    let mut app = db.app();
    execute(&mut app, "UPDATE items SET name = 'y'");
    assert_eq!(lines(db, "items"), ["insert 1", "update 1"]);
    assert_newest_images_equal_table(db, "items");
    assert_nothing_is_orphaned(db);
    assert_eq!(
        value(&mut superuser, "SELECT count(*) FROM audit_actions"),
        0
    );
}

fn readers_that_may_only_read(db: &TestDb) {
    items(db);
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1, 'a'); UPDATE items SET name = 'b'",
    );
    for set in [
        "SET default_transaction_read_only = on",
        "SET default_transaction_isolation = 'serializable'",
        "SET default_transaction_read_only = on; SET default_transaction_isolation = 'serializable'; SET default_transaction_deferrable = on",
    ] {
        let mut auditor = db.auditor();
        execute(&mut auditor, set);
        for read in [
            "threadline_history('items', '{\"id\": 1}')",
            "threadline_as_of('items', '{\"id\": 1}', now())",
            "threadline_settled(now())",
        ] {
            execute(&mut auditor, &format!("SELECT * FROM {read}"));
        }
        let count = value(
            &mut auditor,
            "SELECT count(*) FROM threadline_history('items', '{\"id\": 1}')",
        );
        assert_eq!(count, 2, "{set}");
    }
}

fn a_table_that_is_written_anew(db: &TestDb) {
    items(db);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items VALUES (1, 'a', 1.10), (2, 'b', 2)",
    );
    for sql in [
        "VACUUM FULL items".to_owned(),
        "CLUSTER items USING items_pkey".to_owned(),
        "REINDEX TABLE items".to_owned(),
        "VACUUM FULL audit_changes".to_owned(),
        format!(
            "ALTER DATABASE {} SET timezone = 'Asia/Kathmandu'",
            db.name()
        ),
        format!("ALTER DATABASE {} SET datestyle = 'SQL, DMY'", db.name()),
        "ALTER TABLE items ALTER n TYPE numeric(20, 5)".to_owned(),
    ] {
        execute(&mut db.superuser(), &sql);
        execute(
            &mut db.app(),
            "UPDATE items SET name = name || '!', at = '2024-02-29 12:00:00+00' WHERE id = 1",
        );
    }
    assert_eq!(lines(db, "items").len(), 9);
    let at =
        "SELECT array_agg(DISTINCT data_after ->> 'at') FROM audit_changes WHERE op = 'update'";
    assert_eq!(
        value(&mut db.superuser(), at),
        json!(["2024-02-29T12:00:00+00:00"])
    );
    execute(&mut db.app(), "UPDATE items SET name = 'c', n = n");
    let logged = "SELECT array_agg(data_after ->> 'name' ORDER BY id) FROM (SELECT DISTINCT ON (table_pk) * FROM audit_changes c ORDER BY table_pk, c.id DESC) c";
    assert_eq!(value(&mut db.superuser(), logged), json!(["c", "c"]));
}
