//! The WITH items that stand for a table as of a moment, written so that what a query costs doesn't depend on what it asks.
//!
//! The planner knows nothing of rows that a function makes. It takes an equation, a LIKE or an IS NULL for true of one row in
//! 200, so of two such conditions it expects one row to be left, and reads one table anew for each row of another one, or the
//! rows of an EXISTS for each row that it is asked of. With rows as they are, that is quadratic. Three things prevent it:
//!
//! - The rows are MATERIALIZED, so that the function is called once, however often the query reads the table.
//! - They are read together with [`EMPTY`] sources without rows. Each part of a UNION ALL counts for one row at least,
//!   whatever the conditions: enough rows to make joining by a hash or a sort cheaper than a loop. The WITH inside of it
//!   keeps the parts together, so that a subselect in a condition is expected to be asked for several rows, too.
//! - The source without rows is sorted, which looks expensive and is never done. So reading the table twice looks more expensive than
//!   reading it once and keeping a hash of it.
//!
//! A query that is to end after its first rows (LIMIT without ORDER BY, EXISTS of a join) may still be planned as a loop: the planner
//! expects to find them at once, and is right unless hardly any row qualifies.
//!
//! All of it holds only while the function says that it gives few rows (`ROWS 50`): the planner doesn't tell apart what
//! differs by less than one in a hundred of all that a query costs.

/// With 8, plans are good for eight tables with conditions, the most that the planner joins at once (`join_collapse_limit`).
const EMPTY: usize = 15;

/// The items for the table at this place, whose query is called `name` and whose rows come from `function`.
pub(super) fn items(place: usize, name: &str, function: &str) -> String {
    let rows = format!("\"threadline rows {place}\"");
    format!(
        "{rows} AS MATERIALIZED (SELECT * FROM {function}), \
         {name} AS NOT MATERIALIZED (WITH tl_none AS MATERIALIZED (SELECT tl_r.* FROM {rows} AS tl_r ORDER BY tl_r::text LIMIT 0) \
         TABLE {rows}{})",
        " UNION ALL TABLE tl_none".repeat(EMPTY)
    )
}
