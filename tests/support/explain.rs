//! What PostgreSQL does to answer a query.

use std::fmt::{self, Display, Formatter};

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

/// How a query was run.
#[derive(Debug)]
pub struct Plan(Value);

/// Runs a query and tells how.
pub fn explain<Q: QueryFragment<Pg> + QueryId>(conn: &mut PgConnection, query: Q) -> Plan {
    let plan = Explained(query)
        .get_result(conn)
        .unwrap_or_else(|error| panic!("{error}"));
    Plan(plan)
}

impl Plan {
    /// The step that yields the rows.
    #[must_use]
    pub fn root(&self) -> &Value {
        &self.0[0]["Plan"]
    }

    /// What was spent on compiling expressions; null if nothing.
    #[must_use]
    pub fn jit(&self) -> &Value {
        &self.0[0]["JIT"]
    }

    fn nodes(&self) -> Vec<&Value> {
        let mut nodes = vec![self.root()];
        let mut at = 0;
        while at < nodes.len() {
            nodes.extend(nodes[at]["Plans"].as_array().into_iter().flatten());
            at += 1;
        }
        nodes
    }

    /// The indexes that it went by.
    #[must_use]
    pub fn indexes(&self) -> Vec<&str> {
        self.nodes()
            .iter()
            .filter_map(|node| node["Index Name"].as_str())
            .collect()
    }

    /// How many rows all of its steps looked at: those that scans yield, as often as they are repeated, and those that
    /// conditions remove.
    #[must_use]
    pub fn rows_read(&self) -> f64 {
        let number = |node: &Value, name: &str| node[name].as_f64().unwrap_or(0.0);
        let read = |node: &&Value| {
            let kind = node["Node Type"].as_str().unwrap_or_default();
            let is_source =
                kind.ends_with(" Scan") && kind != "Subquery Scan" || kind == "Materialize";
            let yielded = if is_source {
                number(node, "Actual Rows")
            } else {
                0.0
            };
            let removed = ["Rows Removed by Filter", "Rows Removed by Join Filter"];
            let removed: f64 = removed.iter().map(|name| number(node, name)).sum();
            (yielded + removed) * number(node, "Actual Loops")
        };
        self.nodes().iter().map(read).sum()
    }

    /// How often it called each function that it reads rows from.
    #[must_use]
    pub fn calls(&self, function: &str) -> Vec<f64> {
        let nodes = self.nodes();
        let calls = nodes
            .iter()
            .filter(|node| node["Function Name"] == function);
        calls
            .filter_map(|node| node["Actual Loops"].as_f64())
            .collect()
    }

    /// How many of its steps read what a WITH item of this name has, or one whose name begins so.
    #[must_use]
    pub fn scans(&self, item: &str) -> usize {
        let is_of_item = |node: &&&Value| {
            let name = node["CTE Name"].as_str().unwrap_or_default();
            name.starts_with(item) && node["Actual Loops"].as_f64() > Some(0.0)
        };
        self.nodes().iter().filter(is_of_item).count()
    }

    /// The most rows that a step of it saw.
    #[must_use]
    pub fn most_rows(&self) -> f64 {
        let seen = |node: &&Value| {
            node["Actual Rows"].as_f64().expect("it was run")
                + node["Rows Removed by Filter"].as_f64().unwrap_or(0.0)
        };
        self.nodes().iter().map(seen).fold(0.0, f64::max)
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

/// The query goes by the index, reads no audit table as a whole, and no step of it sees more than `most` rows. Nor is it
/// taken for a large one: from `jit_above_cost` on, compiling it would take longer than running it.
pub fn goes_by<Q: QueryFragment<Pg> + QueryId>(
    conn: &mut PgConnection,
    query: Q,
    index: &str,
    most: u64,
) {
    let plan = explain(conn, query);
    let cost = plan.root()["Total Cost"].as_f64().expect("EXPLAIN says so");
    assert!(cost < 100_000.0, "expected to cost {cost}: {plan}");
    for node in plan.nodes() {
        let scanned = node["Relation Name"].as_str().unwrap_or_default();
        assert!(
            node["Node Type"] != "Seq Scan" || scanned == "audit_tables",
            "{scanned} is read as a whole: {plan}"
        );
    }
    let seen = plan.most_rows();
    assert!(seen <= most as f64, "{seen} rows: {plan}");
    let indexes = plan.indexes();
    assert!(indexes.contains(&index), "{indexes:?}: {plan}");
}

/// How many pages of tables and indexes a query looks at.
pub fn pages_read<Q: QueryFragment<Pg> + QueryId>(conn: &mut PgConnection, query: Q) -> u64 {
    let plan = explain(conn, query);
    ["Shared Hit Blocks", "Shared Read Blocks"]
        .map(|blocks| plan.root()[blocks].as_u64().expect("it was run"))
        .iter()
        .sum()
}
