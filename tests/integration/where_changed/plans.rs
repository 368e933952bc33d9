//! What the conditions cost: which index serves them.

use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Json;
use serde_json::Value;

use super::*;

/// 20,000 changes, one a second, of 5,000 rows, each with an address of its own.
fn large() -> &'static TestDb {
    static LARGE: OnceLock<TestDb> = OnceLock::new();
    LARGE.get_or_init(|| {
        let db = users(plain());
        execute(
            &mut db.superuser(),
            "SET session_replication_role = replica;
             INSERT INTO audit_changes (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk,
                                        data_after, changed_fields)
             SELECT n, hashtextextended(pk::text, 0), '2026-01-01Z'::timestamptz + n * interval '1 s', md5('t' || n)::uuid,
                    threadline_table('users'), 'public', 'users', CASE WHEN n <= 5000 THEN 'insert' ELSE 'update' END, pk,
                    jsonb_build_object('id', n % 5000, 'email', n || '@x', 'name', 'n'), CASE WHEN n > 5000 THEN '{email}'::text[] END
             FROM generate_series(1, 20000) n CROSS JOIN LATERAL (SELECT jsonb_build_object('id', (n % 5000)::text) AS pk) row;
             ANALYZE audit_changes",
        );
        db
    })
}

#[derive(QueryId)]
struct Explained<Q>(Q);

impl<Q> Query for Explained<Q> {
    type SqlType = Json;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Explained<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("EXPLAIN (ANALYZE, FORMAT JSON) ");
        self.0.walk_ast(out)
    }
}

impl<Q> RunQueryDsl<PgConnection> for Explained<Q> {}

/// The indexes that a query goes by, and the most rows that a step of it sees.
fn plan<Q: QueryFragment<Pg> + QueryId>(conn: &mut PgConnection, query: Q) -> (Vec<String>, f64) {
    let plan: Value = Explained(query).get_result(conn).unwrap();
    let mut nodes = vec![&plan[0]["Plan"]];
    let (mut indexes, mut most) = (Vec::new(), 0_f64);
    while let Some(node) = nodes.pop() {
        indexes.extend(node["Index Name"].as_str().map(str::to_owned));
        let removed = node["Rows Removed by Filter"].as_f64().unwrap_or(0.0);
        most = most.max(node["Actual Rows"].as_f64().unwrap() + removed);
        nodes.extend(node["Plans"].as_array().into_iter().flatten());
    }
    (indexes, most)
}

#[test]
fn a_window_goes_by_table_and_time() {
    let start: DateTime<Utc> = "2026-01-01T02:00:00Z".parse().unwrap();
    let query = User::changes()
        .filter(change::captured_at.between(start, start + TimeDelta::seconds(60)))
        .filter(where_changed(users::email).from("2300@x"))
        .select(change::id);
    let (indexes, most) = plan(&mut large().auditor(), query);
    assert!(
        indexes.contains(&"audit_changes_table_time".to_owned()),
        "{indexes:?}"
    );
    assert!(most < 100.0, "{most}");
}

#[test]
fn a_row_goes_by_its_key() {
    let query = User::history(7)
        .filter(where_changed(users::email).had("5007@x"))
        .select(change::id);
    let (indexes, most) = plan(&mut large().auditor(), query);
    assert!(
        indexes.contains(&"audit_changes_key".to_owned()),
        "{indexes:?}"
    );
    assert!(most < 100.0, "{most}");
}

/// The statement of cost, and of what the optional index does about it.
#[test]
fn without_the_optional_index_every_change_is_looked_at() {
    let query = || {
        User::changes()
            .filter(where_changed(users::email).to("12345@x"))
            .select(change::id)
    };
    let (_, most) = plan(&mut large().auditor(), query());
    assert!(most >= 20_000.0, "{most}");

    let mut owner = large().owner();
    execute(
        &mut owner,
        "CREATE INDEX audit_changes_data_after ON audit_changes USING gin (data_after jsonb_path_ops); ANALYZE audit_changes",
    );
    let (indexes, most) = plan(&mut owner, query());
    assert!(
        indexes.contains(&"audit_changes_data_after".to_owned()),
        "{indexes:?}"
    );
    assert!(most < 100.0, "{most}");
    assert_eq!(query().load::<i64>(&mut owner).unwrap(), [12_345]);
    execute(&mut owner, "DROP INDEX audit_changes_data_after");
}
