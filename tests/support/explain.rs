//! What PostgreSQL does to answer a query.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Json;
use serde_json::Value;

/// A query, explained as it is run.
#[derive(QueryId)]
struct Explained<Q>(Q);

impl<Q> Query for Explained<Q> {
    type SqlType = Json;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Explained<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ");
        self.0.walk_ast(out)
    }
}

impl<Q> RunQueryDsl<PgConnection> for Explained<Q> {}

fn plan<Q: QueryFragment<Pg> + QueryId>(conn: &mut PgConnection, query: Q) -> Value {
    Explained(query)
        .get_result(conn)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The query goes by the index, reads no audit table as a whole, and no step of it sees more than `most` rows. Nor is it
/// taken for a large one: from `jit_above_cost` on, compiling it would take longer than running it.
pub fn goes_by<Q: QueryFragment<Pg> + QueryId>(
    conn: &mut PgConnection,
    query: Q,
    index: &str,
    most: u64,
) {
    let plan = plan(conn, query);
    let cost = plan[0]["Plan"]["Total Cost"]
        .as_f64()
        .expect("EXPLAIN says so");
    assert!(cost < 100_000.0, "expected to cost {cost}: {plan:#}");
    let mut indexes = Vec::new();
    for node in steps(&plan) {
        indexes.extend(node["Index Name"].as_str());
        let scanned = node["Relation Name"].as_str().unwrap_or_default();
        assert!(
            node["Node Type"] != "Seq Scan" || scanned == "audit_tables",
            "{scanned} is read as a whole: {plan:#}"
        );
        let read = rows_of(node);
        assert!(read <= most as f64, "{read} rows: {plan:#}");
    }
    assert!(indexes.contains(&index), "{indexes:?}: {plan:#}");
}

fn steps(plan: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    let mut steps = vec![&plan[0]["Plan"]];
    while let Some(step) = steps.pop() {
        steps.extend(step["Plans"].as_array().into_iter().flatten());
        found.push(step);
    }
    found
}

fn rows_of(step: &Value) -> f64 {
    step["Actual Rows"].as_f64().expect("it was run")
        + step["Rows Removed by Filter"].as_f64().unwrap_or(0.0)
}

/// The most rows that any step of a query sees.
pub fn most_rows<Q: QueryFragment<Pg> + QueryId>(conn: &mut PgConnection, query: Q) -> f64 {
    let plan = plan(conn, query);
    steps(&plan).into_iter().map(rows_of).fold(0.0, f64::max)
}

/// How many pages of tables and indexes a query looks at.
pub fn pages_read<Q: QueryFragment<Pg> + QueryId>(conn: &mut PgConnection, query: Q) -> u64 {
    let plan = plan(conn, query);
    ["Shared Hit Blocks", "Shared Read Blocks"]
        .map(|blocks| plan[0]["Plan"][blocks].as_u64().expect("it was run"))
        .iter()
        .sum()
}
