//! Where the obvious way to an answer leads past very many changes: the same answer as by a plain sort of the log, and at a cost
//! that doesn't grow with them.

use std::sync::OnceLock;

use diesel::sql_types::BigInt;
use threadline::{ActorRef, Op};
use threadline_tests::explain;

use super::*;

/// 60,000 changes in 12,000 transactions, a second each. Row 1 of `items` has 12,000 of them; others have 24 each, but for 100 of
/// `others`. `present` wrote every fifth transaction, `gone` the first 1,500; each of 500 users some of the others. Fifteen changes
/// are deletes, and fifteen changed the field `rare`. One minute in every hour, the clock was an hour behind.
fn crowded() -> &'static TestDb {
    static CROWDED: OnceLock<TestDb> = OnceLock::new();
    CROWDED.get_or_init(|| {
        let db = TestDb::new();
        db.create("CREATE TABLE items (id bigint PRIMARY KEY, name text, rare int); CREATE TABLE others (LIKE items INCLUDING ALL)");
        for table in ["items", "others"] {
            db.capture(table, threadline::Definition::new("Model", &["id"]));
        }
        let mut superuser = db.superuser();
        execute(
            &mut superuser,
            // Else VACUUM, right afterwards, doesn't dare to say that all of it is visible.
            "SET synchronous_commit = on; SET session_replication_role = replica;
             INSERT INTO audit_transactions (id, txid, occurred_at, actor_ref, session_user_name)
             SELECT md5('t' || n)::uuid, n::text::xid8, '2026-01-01Z'::timestamptz + n * interval '1 s'
                        - CASE WHEN n % 3600 < 60 THEN interval '1 h' ELSE '0' END,
                    CASE WHEN n % 5 = 0 THEN '{\"type\": \"system\", \"id\": \"present\"}'
                         WHEN n <= 1875 THEN '{\"type\": \"system\", \"id\": \"gone\"}'
                         ELSE jsonb_build_object('type', 'user', 'id', (n % 500)::text) END, 'tl_app'
             FROM generate_series(1, 12000) n;
             INSERT INTO audit_commits SELECT id, occurred_at, occurred_at + interval '0.1 s' FROM audit_transactions;
             INSERT INTO audit_changes (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk,
                 data_after, changed_fields)
             SELECT n, hashtextextended(pk::text, 0), t.occurred_at, t.id, threadline_table(name::regclass), 'public', name,
                    CASE WHEN n % 4001 = 17 THEN 'delete' ELSE 'update' END, pk,
                    CASE WHEN n % 4001 = 17 THEN NULL ELSE pk || jsonb_build_object('name', repeat('x', 100)) END,
                    CASE WHEN n % 4001 = 18 THEN '{rare}' ELSE '{name}' END::text[]
             FROM generate_series(1, 60000) n
             JOIN audit_transactions t ON t.id = md5('t' || (n - 1) / 5 + 1)::uuid
             CROSS JOIN LATERAL (SELECT CASE WHEN n % 601 = 17 THEN 'others' ELSE 'items' END AS name,
                 jsonb_build_object('id', CASE WHEN n % 5 = 0 THEN 1 ELSE 2 + n % 2000 END::text) AS pk) row",
        );
        // Of a sample it would be a matter of luck whether the planner knows how rare the rare ones are: so ANALYZE reads all.
        execute(
            &mut superuser,
            "ALTER TABLE audit_changes ALTER op SET STATISTICS 1000, ALTER changed_fields SET STATISTICS 1000",
        );
        execute(&mut superuser, "VACUUM ANALYZE");
        db
    })
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The changes that meet a condition, by a plain sort of the whole log.
fn sorted(condition: &str, oldest_first: bool) -> Vec<i64> {
    let order = if oldest_first { "" } else { "DESC" };
    let sql = format!(
        "SELECT c.id FROM audit_changes c JOIN audit_transactions t ON t.id = c.transaction_id WHERE {condition}
         ORDER BY c.captured_at {order}, c.id {order}"
    );
    let found: Vec<Found> = diesel::sql_query(sql)
        .load(&mut crowded().auditor())
        .unwrap();
    found.into_iter().map(|found| found.id).collect()
}

fn assert_shows(filter: &TimelineFilter, limit: i64, condition: &str) {
    for oldest_first in [false, true] {
        let expected = sorted(condition, oldest_first);
        assert!(!expected.is_empty(), "{condition}");
        let shown = walk(&mut crowded().auditor(), filter, oldest_first, limit);
        assert_eq!(ids(&shown), expected, "{filter}");
    }
}

/// How many pages of tables and indexes are looked at for a page of 20, the first one and the one after the given number of
/// changes.
fn pages_read(filter: &TimelineFilter, oldest_first: bool, after: i64) -> [u64; 2] {
    let mut conn = crowded().auditor();
    let before = page(&mut conn, filter, oldest_first, after, None);
    let list = || {
        let list = timeline(filter.clone()).limit(20).unwrap();
        if oldest_first {
            list.oldest_first()
        } else {
            list
        }
    };
    let late = list().at(before.cursor.as_ref().unwrap()).unwrap();
    [list(), late].map(|list| explain::pages_read(&mut conn, list))
}

fn row() -> TimelineFilter {
    TimelineFilter::new().table("items").key([("id", 1)])
}

#[test]
fn a_row_with_a_long_history() {
    let key = "c.table_name = 'items' AND c.table_pk = '{\"id\": \"1\"}'";
    assert_shows(&row(), 1000, key);
    let system = ActorRef::system("present").unwrap();
    let some = row()
        .actor(system)
        .from("2026-01-01T01:00:00Z".parse().unwrap());
    let condition = format!(
        "{key} AND t.actor_ref ->> 'id' = 'present' AND c.captured_at >= '2026-01-01T01:00:00Z'"
    );
    assert_shows(&some, 300, &condition);
}

/// Its index is read as a whole, and of the changes themselves only the page.
#[test]
fn a_row_with_a_long_history_is_sorted_in_its_index() {
    let mut conn = crowded().auditor();
    let size = diesel::sql_query(
        "SELECT count(DISTINCT (ctid::text::point)[0])::bigint AS id FROM audit_changes WHERE table_pk = '{\"id\": \"1\"}'",
    );
    let of_heap = size.get_result::<Found>(&mut conn).unwrap().id as u64;
    for oldest_first in [false, true] {
        for pages in pages_read(&row(), oldest_first, 1000) {
            assert!(
                pages < of_heap / 3,
                "{pages} pages, and the row's changes are on {of_heap}"
            );
        }
    }
    let list = timeline(row()).limit(20).unwrap();
    explain::goes_by(&mut conn, list, "audit_changes_key", 12_001);
}

/// In the middle of a long history: what came later is passed over in the index.
#[test]
fn a_row_with_a_long_history_at_a_moment() {
    let mut conn = crowded().auditor();
    let pages = |conn: &mut PgConnection, moment: &str| {
        let sql = format!("SELECT * FROM threadline_as_of('items', '{{\"id\": 1}}', '{moment}')");
        explain::pages_read(conn, diesel::sql_query(sql))
    };
    let now = pages(&mut conn, "2026-01-02Z");
    let early = pages(&mut conn, "2026-01-01T00:30:00Z");
    assert!(early < now + 150, "{early} pages, {now} for the newest");
}

#[test]
fn actors_with_very_many_transactions() {
    for (name, limit) in [("present", 1000), ("gone", 1000)] {
        let actor = ActorRef::system(name).unwrap();
        let filter = TimelineFilter::new().actor(actor);
        let by = format!("t.actor_ref ->> 'id' = '{name}'");
        assert_shows(&filter, limit, &by);
        let others = format!("{by} AND c.table_name = 'others'");
        assert_shows(&filter.clone().table("others"), 7, &others);
        let deletes = format!("{by} AND c.op = 'delete'");
        assert_shows(&filter.op(Op::Delete), 1, &deletes);
    }
}

/// One who wrote all the time is met on a walk along the log, and there is no need to know all that it wrote.
#[test]
fn an_actor_who_wrote_all_the_time() {
    let present = TimelineFilter::new().actor(ActorRef::system("present").unwrap());
    for filter in [present.clone(), present.table("items")] {
        for pages in pages_read(&filter, false, 500) {
            assert!(pages < 2_500, "{pages} pages: {filter}");
        }
    }
}

/// For one who was there long ago the walk would be along all of the log: its transactions lead to what it wrote.
#[test]
fn an_actor_who_wrote_long_ago() {
    let gone = TimelineFilter::new().actor(ActorRef::system("gone").unwrap());
    let mut conn = crowded().auditor();
    for filter in [gone.clone(), gone.clone().table("items")] {
        let list = timeline(filter).limit(20).unwrap();
        explain::goes_by(&mut conn, list, "audit_changes_transaction", 10_000);
    }
    let present = TimelineFilter::new().actor(ActorRef::system("present").unwrap());
    for rare in [
        present.clone().op(Op::Delete),
        present.changed_field("rare"),
    ] {
        let list = timeline(rare.clone()).limit(20).unwrap();
        let rows = explain::explain(&mut conn, list).most_rows();
        assert!(rows < 13_000.0, "{rows} rows: {rare}");
    }
}

/// What is said of the cost of rare operations and fields: all of the log is looked at, unless it has the index for them.
#[test]
fn rare_ones_go_by_an_optional_index() {
    let everything = TimelineFilter::new;
    let op = || everything().op(Op::Delete);
    let field = || everything().changed_field("rare");
    let by_op = "CREATE INDEX audit_changes_op ON audit_changes (op, captured_at, id) WHERE op IN ('delete', 'truncate')";
    let by_field = "CREATE INDEX audit_changes_fields ON audit_changes USING gin (changed_fields)";
    for (index, name, filter) in [
        (by_op, "audit_changes_op", op()),
        (by_field, "audit_changes_fields", field()),
    ] {
        let filters = [filter.clone(), filter.table("items")];
        let list = |filter: &TimelineFilter| timeline(filter.clone()).limit(20).unwrap();
        // Undone at the end, and seen by nobody else.
        let mut owner = crowded().owner();
        let without = filters
            .each_ref()
            .map(|filter| explain::pages_read(&mut owner, list(filter)));
        execute(
            &mut owner,
            &format!("BEGIN; {index}; ANALYZE audit_changes"),
        );
        for (filter, without) in filters.iter().zip(without) {
            // Often enough that the server settles on a plan for any value, if it does.
            for _ in 0..8 {
                let found = list(filter).get_result(&mut owner).unwrap().entries.len();
                assert!((10..=15).contains(&found), "{found}: {filter}");
            }
            // All entries of a table may be looked at besides, where the table is small.
            explain::goes_by(&mut owner, list(filter), name, 60_000);
            let with = explain::pages_read(&mut owner, list(filter));
            assert!(
                with < without / 3,
                "{with} pages, {without} without: {filter}"
            );
        }
        execute(&mut owner, "ROLLBACK");
    }
}
