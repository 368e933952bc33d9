//! A log of a million changes: each question goes by its index, wherever in the log its answer is.

use diesel::prelude::*;
use threadline::{
    ActorRef, Definition, TimelineFilter, actor_history, actor_timeline,
    audit_changes_for_transaction, correlation_bundle, incident_bundle, prelude::*, timeline,
};
use threadline_tests::{
    TestDb, execute,
    explain::{goes_by, pages_read},
    value,
};
use uuid::Uuid;

use crate::alone;

diesel::table! {
    table_7 (id) { id -> BigInt, name -> Text, }
}

#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = table_7)]
#[audited(read_only)]
#[allow(dead_code, reason = "only its queries are looked at")]
struct Seven {
    id: i64,
    name: String,
}

const TABLES: usize = 20;

/// 1,000,000 changes of 20 tables in 100,000 transactions, 100 ms each: 50,000 changes of a table, half of them of its row
/// 1, the others 50 of each of 500 rows. 1,000 actors, and a correlation id for every five transactions.
fn million() -> TestDb {
    let db = TestDb::new();
    for number in 0..TABLES {
        let table = format!("table_{number}");
        db.create(&format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY, name text NOT NULL)"
        ));
        db.capture(&table, Definition::new("Row", &["id"]));
    }
    let mut superuser = db.superuser();
    execute(
        &mut superuser,
        // Else VACUUM, right afterwards, doesn't dare to say that all of it is visible.
        "SET synchronous_commit = on; SET session_replication_role = replica;
         INSERT INTO audit_transactions (id, txid, occurred_at, actor_ref, correlation_id, session_user_name)
         SELECT md5('t' || n)::uuid, n::text::xid8, '2026-01-01Z'::timestamptz + n * interval '0.1 s',
                jsonb_build_object('type', 'user', 'id', (n % 1000)::text), 'corr-' || n / 5, 'tl_app'
         FROM generate_series(1, 100000) n;
         INSERT INTO audit_actions (id, transaction_id, name, status, correlation_id, inserted_at, session_user_name)
         SELECT md5('a' || t.id)::uuid, t.id, 'row.changed', 'ok', t.correlation_id, t.occurred_at, 'app' FROM audit_transactions t;
         INSERT INTO audit_commits SELECT id, occurred_at, occurred_at + interval '0.05 s' FROM audit_transactions;
         INSERT INTO audit_changes (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk, data_after)
         SELECT n, hashtextextended(pk::text, 0), '2026-01-01Z'::timestamptz + ((n - 1) / 10 + 1) * interval '0.1 s',
                md5('t' || (n - 1) / 10 + 1)::uuid, t.id, 'public', t.table_name, 'update', pk, pk || '{\"name\": \"x\"}'
         FROM (SELECT n, n / 20 AS turn, n % 20 AS number FROM generate_series(1, 1000000) n OFFSET 0) n
         JOIN audit_tables t ON t.table_name = 'table_' || n.number
         CROSS JOIN LATERAL (SELECT jsonb_build_object('id', CASE WHEN turn % 2 = 0 THEN 1 ELSE 2 + turn / 2 % 500 END::text) AS pk) row;
         ALTER SEQUENCE audit_changes_id_seq RESTART 1000001",
    );
    execute(&mut superuser, "VACUUM ANALYZE");
    db
}

#[test]
fn a_million_changes_are_read_by_their_indexes() {
    let _alone = alone();
    let db = million();
    let mut auditor = db.auditor();
    let changes = value(&mut auditor, "SELECT count(*) FROM audit_changes");
    assert_eq!(changes, 1_000_000);
    let mut by = |question: &str, index: &str, check: &dyn Fn(&mut PgConnection, &str)| {
        crate::report(&format!("1,000,000 changes: {question} by {index}"));
        check(&mut auditor, index);
    };

    by("history", "audit_changes_key", &|conn, index| {
        for row in [1, 77] {
            goes_by(conn, Seven::history(row).limit(50), index, 50);
        }
    });
    by("timeline of a row", "audit_changes_key", &|conn, index| {
        for (row, most) in [(1, 25_001), (77, 200)] {
            let filter = || TimelineFilter::new().table("table_7").key([("id", row)]);
            let list = || timeline(filter()).limit(50).unwrap();
            goes_by(conn, list(), index, most);
            // Once what the session has to know of the tables is there.
            let pages = pages_read(conn, list());
            assert!(pages < 1_500, "{pages} pages");
        }
    });
    by("as-of by key", "audit_changes_key", &|conn, index| {
        for (row, most) in [(1, 25_001), (77, 50)] {
            let query = format!(
                "SELECT * FROM threadline_history('table_7', '{{\"id\": {row}}}') h
                 WHERE h.captured_at <= '2026-01-01 01:00Z' ORDER BY h.id DESC LIMIT 1"
            );
            goes_by(conn, diesel::sql_query(query), index, most);
            let query = format!(
                "SELECT * FROM threadline_as_of('table_7', '{{\"id\": {row}}}', '2026-01-01 01:00Z')"
            );
            let pages = pages_read(conn, diesel::sql_query(query));
            assert!(pages < 1_500, "{pages} pages");
        }
    });
    by(
        "transaction",
        "audit_changes_transaction",
        &|conn, index| {
            let id: Uuid = diesel::select(diesel::dsl::sql::<diesel::sql_types::Uuid>(
                "md5('t50000')::uuid",
            ))
            .get_result(conn)
            .unwrap();
            goes_by(conn, audit_changes_for_transaction(id), index, 21);
            goes_by(conn, incident_bundle(id), index, 21);
        },
    );
    let actor = || ActorRef::user("77").unwrap();
    by("actor", "audit_transactions_actor", &|conn, index| {
        goes_by(conn, actor_history(actor()), index, 600);
        goes_by(conn, actor_timeline(actor()), index, 1_100);
    });
    by(
        "correlation",
        "audit_transactions_correlation",
        &|conn, index| {
            goes_by(conn, correlation_bundle("corr-7777"), index, 100);
        },
    );
    for (question, index, filter) in [
        ("timeline", "audit_changes_time", TimelineFilter::new()),
        (
            "timeline of a table",
            "audit_changes_table_time",
            TimelineFilter::new().table("table_7"),
        ),
    ] {
        by(question, index, &|conn, index| {
            let list = || timeline(filter.clone()).limit(100).unwrap();
            goes_by(conn, list(), index, 101);
            let window = filter.clone().to("2026-01-01T01:00:00Z".parse().unwrap());
            let middle = timeline(window).limit(100).unwrap();
            let page = middle.get_result(conn).unwrap();
            let window = filter.clone().to("2026-01-01T01:00:00Z".parse().unwrap());
            let late = timeline(window).limit(100).unwrap();
            let late = late.at(page.cursor.as_ref().unwrap()).unwrap();
            goes_by(conn, late, index, 221);
        });
    }
}
