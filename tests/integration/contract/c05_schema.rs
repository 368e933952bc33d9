use diesel::prelude::*;
use threadline::prelude::*;
use threadline_tests::{TestDb, execute, rows, try_execute, value};

use super::log::lines;

diesel::table! {
    items (id) { id -> BigInt, name -> Text, }
}

#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
#[allow(dead_code, reason = "only its queries are looked at")]
struct Item {
    id: i64,
    name: String,
}

fn items() -> TestDb {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL)",
    );
    db
}

/// Wherever a body of ours, or of a captured table, names something of ours, `public.` stands before it.
#[test]
fn c05_function_bodies_name_the_schema() {
    let db = items();
    let ours =
        r"(audit_(tables|transactions|changes|actions|commits)(_id_seq)?|threadline_[a-z_0-9]+\()";
    let functions = rows(
        &mut db.owner(),
        &format!(
            "SELECT proname AS name, regexp_replace(prosrc, '--[^\\n]*', '', 'g') ~ '[^.''a-zA-Z0-9_]{ours}' AS unqualified,
                    prosrc ~ '\"?public\"?[.]{ours}' AS qualified
             FROM pg_proc WHERE proname LIKE 'threadline%' AND pronamespace = 'public'::regnamespace"
        ),
    );
    assert!(functions.len() > 20, "{functions:?}");
    let unqualified: Vec<_> = functions
        .iter()
        .filter(|f| f["unqualified"] == true)
        .collect();
    assert!(unqualified.is_empty(), "{unqualified:?}");
    assert!(
        functions
            .iter()
            .any(|f| f["name"] == "threadline_capture_1" && f["qualified"] == true)
    );
}

#[test]
fn c05_capture_does_not_go_by_the_search_path() {
    let db = items();
    execute(
        &mut db.owner(),
        "CREATE SCHEMA decoy; GRANT ALL ON SCHEMA decoy TO tl_app;
         CREATE TABLE decoy.audit_changes (LIKE audit_changes); GRANT ALL ON decoy.audit_changes TO tl_app;
         CREATE TABLE decoy.audit_transactions (LIKE audit_transactions); GRANT ALL ON decoy.audit_transactions TO tl_app",
    );
    let mut app = db.app();
    execute(
        &mut app,
        "SET search_path = decoy; INSERT INTO public.items VALUES (1, 'a')",
    );
    execute(
        &mut app,
        "SET search_path = ''; UPDATE public.items SET name = 'b'",
    );
    assert_eq!(lines(&db, "items"), ["insert 1", "update 1"]);
    assert_eq!(
        value(&mut db.owner(), "SELECT count(*) FROM decoy.audit_changes"),
        0
    );
    assert_eq!(
        value(
            &mut db.owner(),
            "SELECT count(*) FROM decoy.audit_transactions"
        ),
        0
    );
}

#[test]
fn c05_queries_leave_the_schema_to_the_search_path() {
    let history = diesel::debug_query::<diesel::pg::Pg, _>(&Item::history(1)).to_string();
    let as_of =
        diesel::debug_query::<diesel::pg::Pg, _>(&Item::as_of(1, diesel::dsl::now)).to_string();
    for sql in [&history, &as_of] {
        assert!(sql.contains("threadline_"), "{sql}");
        assert!(!sql.contains("public"), "{sql}");
    }

    let db = items();
    let mut auditor = db.auditor();
    execute(&mut auditor, "SET search_path = pg_catalog");
    let unseen = try_execute(
        &mut auditor,
        "SELECT * FROM threadline_history('public.items', '{\"id\": 1}')",
    );
    assert!(unseen.unwrap_err().contains("threadline_history"));
    execute(
        &mut auditor,
        "SELECT * FROM public.threadline_history('public.items', '{\"id\": 1}')",
    );
}
