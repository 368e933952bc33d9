//! Settings that the session may write: what capture remembers there is a hint, and never a proof.

use super::marks::{Mark, acts, begin, collect, each_forgery, set, settings};
use super::*;

on_both_kinds!(
    marks_of_other_transactions,
    marks_of_the_same_transaction,
    marks_that_are_guessed,
    an_actor_who_is_required,
    a_gap,
    an_action_that_does_not_exist,
);

/// `items`, whose rows say by whom they were written, and `guarded`, which requires an actor who is known.
fn shop(db: &TestDb) {
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, by text);
         CREATE TABLE guarded (id bigint PRIMARY KEY, by text)",
    );
    let rules = Definition::new("Item", &["id"]).store_changed_from();
    db.capture("items", rules);
    db.capture(
        "guarded",
        rules.require_actor(threadline::RequireActor::Known),
    );
    execute(&mut db.app(), "INSERT INTO items VALUES (0), (1), (2)");
}

/// Every change has its transaction with the session user, the role and the actor that its row names, and a commit marker
/// that is later; every action is there that a transaction names.
fn assert_whole(db: &TestDb, changes: u64) {
    let mut superuser = db.superuser();
    let found = rows(
        &mut superuser,
        "SELECT c.op, c.data_after ->> 'by' AS by, t.session_user_name, t.role_name, t.actor_ref, m.last >= c.captured_at AS marked
         FROM audit_changes c LEFT JOIN audit_transactions t ON t.id = c.transaction_id
         LEFT JOIN (SELECT transaction_id, max(committed_at) AS last FROM audit_commits GROUP BY 1) m ON m.transaction_id = c.transaction_id
         WHERE t.session_user_name IS DISTINCT FROM 'tl_app' OR m.last >= c.captured_at IS NOT TRUE OR t.role_name IS NOT NULL
             OR c.op <> 'delete' AND t.actor_ref ->> 'id' IS DISTINCT FROM c.data_after ->> 'by' LIMIT 5",
    );
    assert_eq!(found, [] as [Value; 0]);
    let dangling = rows(
        &mut superuser,
        "SELECT t.id, to_jsonb(t) ->> 'action_id' AS action FROM audit_transactions t
         WHERE NOT EXISTS (SELECT FROM audit_actions a WHERE a.id = t.action_id) AND t.action_id IS NOT NULL LIMIT 5",
    );
    assert_eq!(dangling, [] as [Value; 0]);
    let recorded = value(&mut superuser, "SELECT count(*) FROM audit_changes");
    assert_eq!(recorded, json!(changes));
}

/// What the attack tries to write. A refusal is fine.
const WRITE: &str = "INSERT INTO items SELECT max(id) + 1, :by FROM items";

fn write(app: &mut PgConnection, actor: Option<&str>) -> u64 {
    let by = actor.map_or("NULL".to_owned(), |actor| format!("'{actor}'"));
    let written = try_execute(app, &WRITE.replace(":by", &by)).is_ok();
    execute(app, if written { "COMMIT" } else { "ROLLBACK" });
    u64::from(written)
}

fn changes(db: &TestDb) -> u64 {
    let count = "SELECT count(*) FROM audit_changes";
    value(&mut db.superuser(), count).as_u64().unwrap()
}

/// Every value that a setting ever had, in every setting, in transactions with an actor and without.
fn marks_of_other_transactions(db: &TestDb) {
    shop(db);
    let settings = settings(db);
    let mut app = db.app();
    let marks = collect(&mut app, &settings);
    let mut expected = changes(db);
    for actor in [None, Some("present"), Some("former")] {
        each_forgery(&mut app, &settings, &marks, actor, |app| {
            expected += write(app, actor);
        });
        // And all of them at once, as they were.
        for all in marks.chunks(settings.len()) {
            begin(&mut app, actor);
            for (setting, mark) in settings.iter().zip(all) {
                set(&mut app, setting, &mark.of(&mark.names));
            }
            expected += write(&mut app, actor);
        }
    }
    assert_whole(db, expected);
}

/// What was there before a savepoint was rolled back, or before the commit marker was written.
fn marks_of_the_same_transaction(db: &TestDb) {
    shop(db);
    let settings = settings(db);
    let mut app = db.app();
    let mut expected = changes(db);
    for (before, after, first) in [
        (
            "SAVEPOINT s; INSERT INTO items VALUES (-1, 'former')",
            "ROLLBACK TO s",
            0,
        ),
        (
            "SAVEPOINT s; SELECT threadline_record_action_v1('undone'); INSERT INTO items VALUES (-1, 'former')",
            "ROLLBACK TO s",
            0,
        ),
        (
            "INSERT INTO items SELECT max(id) + 1, 'former' FROM items",
            "SET CONSTRAINTS ALL IMMEDIATE",
            1,
        ),
        (
            "INSERT INTO items SELECT max(id) + 1, 'former' FROM items",
            "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED",
            1,
        ),
        (
            "INSERT INTO items SELECT max(id) + 1, 'former' FROM items",
            "SAVEPOINT s; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO s",
            1,
        ),
    ] {
        for actor in ["former", "present"] {
            execute(&mut app, &format!("BEGIN; {} {before}", acts("former")));
            let marks = Mark::read(&mut app, &settings);
            execute(&mut app, &format!("{after}; {}", acts(actor)));
            for (setting, mark) in settings.iter().zip(&marks) {
                set(
                    &mut app,
                    setting,
                    &mark.of(&mark.names).replace("former", actor),
                );
            }
            let written = write(&mut app, Some(actor));
            expected += written * (1 + first);
            assert!(written == 1 || actor == "present", "{before}; {after}");
            assert_whole(db, expected);
        }
    }
}

/// A mark in the form that the attack was found with, and in others like it.
fn marks_that_are_guessed(db: &TestDb) {
    shop(db);
    let mut app = db.app();
    let mut expected = changes(db);
    let transaction = "(encode(timestamptz_send(transaction_timestamp()) || xid8send(pg_current_xact_id()), 'hex')::uuid)";
    for actor in [None, Some("present")] {
        for state in ["-", "+", "!", "?", ""] {
            for command in ["x", "", "?", "d", "0", "1", "2", "3", "4"] {
                begin(&mut app, actor);
                execute(
                    &mut app,
                    &format!(
                        "SELECT set_config('threadline.statement', statement_timestamp()::text, true),
                             set_config('threadline.open', {transaction} || '{state}' || coalesce(current_setting('threadline.actor_ref', true), '') || E'\x01' || '{command}', true)"
                    ),
                );
                expected += write(&mut app, actor);
            }
        }
        for mark in [
            "'(0,1)'",
            "ctid::text FROM items LIMIT 1",
            "pg_current_xact_id()::text",
            "'1'",
            "'t'",
            "'on'",
        ] {
            for setting in settings(db) {
                begin(&mut app, actor);
                execute(
                    &mut app,
                    &format!(
                        "SELECT set_config('{setting}', v, true) FROM (SELECT {mark}) AS q (v)"
                    ),
                );
                expected += write(&mut app, actor);
            }
        }
    }
    assert_whole(db, expected);
}

fn an_actor_who_is_required(db: &TestDb) {
    shop(db);
    let settings = settings(db);
    let mut app = db.app();
    let marks = collect(&mut app, &settings);
    let guarded = "INSERT INTO guarded SELECT coalesce(max(id), 0) + 1 FROM guarded";
    each_forgery(&mut app, &settings, &marks, None, |app| {
        let refused = try_execute(app, guarded).is_err();
        execute(app, if refused { "ROLLBACK" } else { "COMMIT" });
    });
    // Anonymous, with the mark of somebody who is known.
    let anonymous = "SELECT set_config('threadline.actor_ref', '{\"type\": \"anonymous\"}', true)";
    each_forgery(&mut app, &settings, &marks, None, |app| {
        execute(app, anonymous);
        let refused = try_execute(app, guarded).is_err();
        execute(app, if refused { "ROLLBACK" } else { "COMMIT" });
    });
    let written = value(&mut db.superuser(), "SELECT count(*) FROM guarded");
    assert_eq!(written, 0, "rows written by nobody");
    // By somebody who is known, and who has to be named then.
    let mut expected = changes(db);
    let known = guarded.replace("+ 1", "+ 1, 'present'");
    each_forgery(&mut app, &settings, &marks, Some("present"), |app| {
        let written = try_execute(app, &known).is_ok();
        expected += u64::from(written);
        execute(app, if written { "COMMIT" } else { "ROLLBACK" });
    });
    assert_whole(db, expected);
}

/// Who may switch capture off can't hide who did.
fn a_gap(db: &TestDb) {
    shop(db);
    let settings = settings(db);
    let marks = collect(&mut db.app(), &settings);
    execute(
        &mut db.owner(),
        "GRANT SELECT, INSERT ON items TO tl_operator",
    );
    let mut operator = connect(db, "tl_operator");
    let mut gaps = 0;
    each_forgery(&mut operator, &settings, &marks, None, |operator| {
        execute(operator, "SET LOCAL threadline.capture = 'off'");
        gaps += write(operator, None);
    });
    assert!(gaps > 0);
    let known = value(
        &mut db.superuser(),
        "SELECT count(*) FROM audit_actions a LEFT JOIN audit_transactions t ON t.id = a.transaction_id
         WHERE a.name = 'threadline.capture_off' AND 'tl_operator' IN (t.session_user_name, to_jsonb(a) ->> 'session_user_name')",
    );
    let noted = value(
        &mut db.superuser(),
        "SELECT cardinality(gaps) FROM audit_tables WHERE table_name = 'items'",
    );
    assert_eq!(
        json!([known, noted]),
        json!([gaps, gaps]),
        "gaps whose author is known, and gaps"
    );
}

fn an_action_that_does_not_exist(db: &TestDb) {
    shop(db);
    let mut app = db.app();
    let mut expected = changes(db);
    for forged in ["1", "x", "2", "d41d8cd9-8f00-b204-e980-0998ecf8427e"] {
        for setting in settings(db) {
            begin(&mut app, None);
            set(&mut app, &setting, forged);
            expected += write(&mut app, None);
            // And with one that was rolled back.
            execute(
                &mut app,
                "BEGIN; SAVEPOINT s; SELECT threadline_record_action_v1('undone'); ROLLBACK TO s",
            );
            set(&mut app, &setting, forged);
            expected += write(&mut app, None);
        }
    }
    assert_whole(db, expected);
}
