use std::sync::OnceLock;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{QueryFragment, QueryId};
use threadline::{change, prelude::*};
use threadline_tests::{TestDb, execute, explain, rows, try_execute, value};

diesel::table! {
    items (id) { id -> BigInt, name -> Text, }
}

#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = items)]
#[allow(dead_code, reason = "only its queries are looked at")]
pub struct Item {
    id: i64,
    name: String,
}

/// 100,000 changes in 10,000 transactions, a second each: 20,000 of row 7 of `items`, 60,000 of its rows 1000 to 2999,
/// 20,000 of `others`. Every 500th transaction was open for a minute. An importer made every other one, but for those of
/// user 42. Tests only read it: what one changes would change the plans of others.
pub fn large() -> &'static TestDb {
    static LARGE: OnceLock<TestDb> = OnceLock::new();
    LARGE.get_or_init(|| {
        let db = TestDb::new();
        db.create(
            "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL); CREATE TABLE others (LIKE items INCLUDING ALL)",
        );
        db.capture("items", Item::DEFINITION);
        db.capture("others", Item::DEFINITION);
        let mut superuser = db.superuser();
        execute(
            &mut superuser,
            "SET session_replication_role = replica;
             INSERT INTO audit_transactions (id, txid, occurred_at, actor_ref, action_id, correlation_id, session_user_name)
             SELECT md5('t' || n)::uuid, n::text::xid8, '2026-01-01Z'::timestamptz + n * interval '1 s',
                    CASE WHEN n % 2 = 0 AND n % 500 <> 42 THEN '{\"type\": \"system\", \"id\": \"importer\"}'
                         ELSE jsonb_build_object('type', 'user', 'id', (n % 500)::text) END,
                    CASE WHEN n % 2 = 0 THEN md5('a' || n)::uuid END, CASE WHEN n % 2 = 0 THEN 'corr-' || n / 10 END, 'tl_app'
             FROM generate_series(1, 10000) n;
             INSERT INTO audit_commits
             SELECT id, occurred_at, occurred_at + CASE WHEN txid::text::integer % 500 = 0 THEN interval '60 s' ELSE interval '0.1 s' END
             FROM audit_transactions;
             INSERT INTO audit_actions (id, transaction_id, name, status, correlation_id, inserted_at, session_user_name)
             SELECT action_id, id, 'item.changed', 'ok', correlation_id, occurred_at, 'app' FROM audit_transactions WHERE action_id IS NOT NULL;
             INSERT INTO audit_changes (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk, data_after)
             SELECT n, hashtextextended(pk::text, 0), '2026-01-01Z'::timestamptz + n / 10 * interval '1 s', md5('t' || (n - 1) / 10 + 1)::uuid,
                    threadline_table(name::regclass), 'public', name, 'update', pk, pk || '{\"name\": \"x\"}'
             FROM generate_series(1, 100000) n
             CROSS JOIN LATERAL (SELECT CASE WHEN n % 5 = 1 THEN 'others' ELSE 'items' END AS name,
                 jsonb_build_object('id', CASE WHEN n % 5 = 0 THEN 7 ELSE 1000 + n / 10 % 2000 END::text) AS pk) row",
        );
        execute(&mut superuser, "VACUUM ANALYZE");
        db
    })
}

/// [`explain::goes_by`] on the large log.
pub fn goes_by<Q: QueryFragment<Pg> + QueryId>(query: Q, index: &str, most: u64) {
    explain::goes_by(&mut large().auditor(), query, index, most);
}

/// [`explain::pages_read`] on the large log, by a session that has asked before: the first time it reads the catalogs, too,
/// and how much of them depends on what else runs in the cluster.
pub fn pages_read<Q: QueryFragment<Pg> + QueryId + Clone>(query: Q) -> u64 {
    let mut auditor = large().auditor();
    explain::pages_read(&mut auditor, query.clone());
    explain::pages_read(&mut auditor, query)
}

fn sql(query: &str) -> diesel::query_builder::SqlQuery {
    diesel::sql_query(query)
}

#[test]
fn c06_newest_page_of_a_row() {
    goes_by(Item::history(1000).limit(20), "audit_changes_key", 50);
}

#[test]
fn c06_newest_page_of_a_row_with_a_long_history() {
    goes_by(Item::history(7).limit(20), "audit_changes_key", 50);
}

#[test]
fn c06_newest_change_of_a_row_before_a_moment() {
    let query = "SELECT * FROM threadline_history('items', '{\"id\": 1000}')
        WHERE captured_at <= '2026-01-01 01:00Z' ORDER BY id DESC LIMIT 1";
    goes_by(sql(query), "audit_changes_key", 50);
}

#[test]
fn c06_previous_change_of_a_row() {
    let query = "SELECT * FROM threadline_previous(threadline_table('items'), ARRAY['{\"id\": \"7\"}'::jsonb], 50000)";
    goes_by(sql(query), "audit_changes_key", 50);
}

#[test]
fn c06_newest_page_of_a_table() {
    let query = Item::changes()
        .order((change::captured_at.desc(), change::id.desc()))
        .limit(20);
    goes_by(query, "audit_changes_table_time", 50);
}

#[test]
fn c06_a_window_of_a_table() {
    let query = "SELECT * FROM threadline_changes('others')
        WHERE captured_at BETWEEN '2026-01-01 01:00Z' AND '2026-01-01 01:01Z'";
    goes_by(sql(query), "audit_changes_table_time", 200);
}

#[test]
fn c06_newest_page_of_all_tables() {
    let query = "SELECT * FROM audit_changes ORDER BY captured_at DESC, id DESC LIMIT 20";
    goes_by(sql(query), "audit_changes_time", 20);
}

#[test]
fn c06_changes_of_a_transaction() {
    let query = "SELECT * FROM audit_changes WHERE transaction_id = md5('t7')::uuid";
    goes_by(sql(query), "audit_changes_transaction", 10);
}

#[test]
fn c06_newest_transactions() {
    let query = "SELECT * FROM audit_transactions ORDER BY occurred_at DESC, id DESC LIMIT 20";
    goes_by(sql(query), "audit_transactions_time", 20);
}

#[test]
fn c06_transactions_of_an_actor() {
    let query = "SELECT * FROM audit_transactions WHERE actor_ref ->> 'type' = 'user' AND actor_ref ->> 'id' = '42'
        ORDER BY occurred_at DESC LIMIT 10";
    goes_by(sql(query), "audit_transactions_actor", 20);
}

#[test]
fn c06_transactions_of_a_correlation() {
    let query = "SELECT * FROM audit_transactions WHERE correlation_id = 'corr-7'";
    goes_by(sql(query), "audit_transactions_correlation", 10);
}

#[test]
fn c06_actions_of_a_correlation() {
    let query = "SELECT * FROM audit_actions WHERE correlation_id = 'corr-7'";
    goes_by(sql(query), "audit_actions_correlation", 10);
}

#[test]
fn c06_transaction_of_an_action() {
    let query = "SELECT * FROM audit_transactions WHERE action_id = md5('a8')::uuid";
    goes_by(sql(query), "audit_transactions_action", 1);
}

#[test]
fn c06_actions_of_a_transaction() {
    let query = "SELECT * FROM audit_actions WHERE transaction_id = md5('t8')::uuid";
    goes_by(sql(query), "audit_actions_transaction", 1);
}

#[test]
fn c06_seal_of_a_transaction() {
    let query =
        "SELECT max(committed_at) FROM audit_commits WHERE transaction_id = md5('t8')::uuid";
    goes_by(sql(query), "audit_commits_transaction", 1);
}

#[test]
fn c06_what_committed_around_a_moment() {
    let query = "SELECT transaction_id, occurred_at FROM audit_commits
        WHERE committed_at > '2026-01-01 01:00Z' AND committed_at <= '2026-01-01 01:00:10Z'";
    goes_by(sql(query), "audit_commits_time", 20);
}

#[test]
fn c06_long_transactions_around_a_moment() {
    let query = "SELECT FROM audit_commits WHERE committed_at > '2026-01-01 00:50:10Z' AND occurred_at <= '2026-01-01 00:50:10Z'
        AND committed_at - occurred_at > interval '10 seconds'";
    goes_by(sql(query), "audit_commits_long", 20);
}

#[test]
fn c06_commit_times_are_read_from_the_index_alone() {
    let covering = rows(
        &mut large().auditor(),
        "SELECT indnkeyatts AS keys, indnatts AS columns FROM pg_index WHERE indexrelid = 'audit_commits_time'::regclass",
    );
    assert_eq!(covering, [serde_json::json!({"keys": 1, "columns": 3})]);
}

#[test]
fn c06_the_key_index_is_the_contracts() {
    let definition = value(
        &mut TestDb::new().auditor(),
        "SELECT pg_get_indexdef('audit_changes_key'::regclass)",
    );
    let definition = definition.as_str().unwrap();
    assert!(
        definition.ends_with("(table_id, key_hash, id) INCLUDE (captured_at)"),
        "{definition}"
    );
}

#[test]
fn c06_key_hash_is_the_hash_of_the_keys_text() {
    let db = TestDb::new();
    db.create("CREATE TABLE pairs (a text, b integer, PRIMARY KEY (a, b))");
    db.capture("pairs", threadline::Definition::new("Pair", &["b", "a"]));
    execute(
        &mut db.app(),
        "INSERT INTO pairs VALUES ('x \"y\"', 1); UPDATE pairs SET b = 2; TRUNCATE pairs",
    );
    let counts = rows(
        &mut db.auditor(),
        "SELECT count(*), count(*) FILTER (WHERE key_hash = hashtextextended(table_pk::text, 0)) AS right FROM audit_changes",
    );
    assert_eq!(counts, [serde_json::json!({"count": 4, "right": 4})]);
}

/// Two keys of one hash are told apart: the queries look at the key again.
#[test]
fn c06_queries_recheck_the_key() {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL)",
    );
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    execute(
        &mut db.superuser(),
        "INSERT INTO audit_changes SELECT nextval('audit_changes_id_seq'), key_hash, clock_timestamp(), transaction_id, table_id,
             table_schema, table_name, 'insert', '{\"id\": \"2\"}', '{\"id\": 2, \"name\": \"b\"}' FROM audit_changes",
    );
    let history = Item::history(1).load(&mut db.auditor()).unwrap();
    assert_eq!(history.len(), 1);
    let now = Item::as_of(1, diesel::dsl::now)
        .get_result(&mut db.auditor())
        .unwrap();
    assert_eq!(now.into_row().unwrap().name, "a");
}

/// The longest that a btree of the audited table takes: an entry of 2,704 bytes, of text that doesn't compress.
#[test]
fn c06_the_longest_key_is_written_and_found() {
    let db = TestDb::new();
    db.audited("docs", "CREATE TABLE docs (id text PRIMARY KEY, n integer)");
    let key = "(SELECT string_agg(chr(33 + get_byte(sha256(n::text::bytea), 0) % 90), '' ORDER BY n) FROM generate_series(1, 2692) n)";
    let mut app = db.app();
    execute(&mut app, &format!("INSERT INTO docs VALUES ({key})"));
    execute(&mut app, "UPDATE docs SET n = 2");
    let count =
        format!("SELECT count(*) FROM threadline_history('docs', jsonb_build_object('id', {key}))");
    assert_eq!(value(&mut db.auditor(), &count), 2);
}

/// Whatever the application sends along, no index of ours is too narrow for it.
#[test]
fn c06_nothing_of_unbounded_length_is_indexed() {
    let db = TestDb::new();
    db.audited("items", "CREATE TABLE items (id bigint PRIMARY KEY)");
    let mut app = db.app();
    let noise = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 1000) n)";
    execute(
        &mut app,
        &format!(
            "BEGIN; SELECT set_config('threadline.' || name, {noise}, true)
                 FROM unnest('{{correlation_id,request_id,job_id,source}}'::text[]) name;
             SELECT threadline_record_action_v1('item.created', correlation_id => {noise});
             INSERT INTO items VALUES (1); COMMIT"
        ),
    );
    let indexed = value(
        &mut db.auditor(),
        "SELECT array_agg(DISTINCT a.attname ORDER BY a.attname) FROM pg_index i
         JOIN pg_attribute a ON a.attrelid = i.indexrelid
         WHERE i.indrelid::regclass::text LIKE 'audit\\_%' AND a.atttypid IN ('text'::regtype, 'jsonb'::regtype, 'bytea'::regtype)",
    );
    // The two expressions are the actor's type and id, which threadline_actor_v1 bounds; names are bounded by PostgreSQL.
    assert_eq!(
        indexed,
        serde_json::json!([
            "correlation_id",
            "expr",
            "expr1",
            "request_id",
            "table_name",
            "table_schema"
        ])
    );
    let long = format!(
        "BEGIN; SELECT set_config('threadline.actor_ref', jsonb_build_object('type', 'user', 'id', {noise})::text, true);
         INSERT INTO items VALUES (2); COMMIT"
    );
    assert!(
        try_execute(&mut app, &long)
            .unwrap_err()
            .contains("threadline.actor_ref")
    );
}
