//! A query as of a moment.

use std::fmt::Write as _;

use diesel::backend::Backend;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};

use super::reads::Reads;
use crate::audited::Audited;
use crate::capture::{Identifier, Literal, TableName, rendered};
use crate::query::table::fill;

/// A SELECT over tables as they were at a moment; see [`QueryAsOf::as_of`](crate::QueryAsOf::as_of).
///
/// Of Diesel's methods, `filter`, `or_filter`, `order`, `then_order_by`, `limit`, `offset`, `select`, `count`, `distinct`,
/// `distinct_on`, `group_by`, `having` and `into_boxed` go on composing the query; join tables before the moment is given.
#[derive(Debug, Clone)]
#[must_use = "queries do nothing until they are loaded"]
pub struct AsOfQuery<Q, T> {
    query: Q,
    moment: T,
    /// A table and what fills its columns where the log has no value.
    fill: Option<(String, String)>,
    is_raw: bool,
}

/// The name of the query that gives the moment; a table can't be called so without quotes.
const MOMENT: &str = "\"threadline moment\"";

impl<Q, T> AsOfQuery<Q, T> {
    pub(in crate::query) fn new(query: Q, moment: T) -> Self {
        Self {
            query,
            moment,
            fill: None,
            is_raw: false,
        }
    }

    /// Of a text that Diesel doesn't know to be a SELECT.
    pub(super) fn raw(query: Q, moment: T) -> Self {
        Self {
            is_raw: true,
            ..Self::new(query, moment)
        }
    }

    /// With the model's fills for the columns of its table.
    pub(in crate::query) fn filled<M: Audited>(self) -> Self {
        Self {
            fill: Some((rendered::<M::Table>(), fill::<M>())),
            ..self
        }
    }

    /// The same moment, of another query.
    pub(super) fn map<R>(self, change: impl FnOnce(Q) -> R) -> AsOfQuery<R, T> {
        AsOfQuery {
            query: change(self.query),
            moment: self.moment,
            fill: self.fill,
            is_raw: self.is_raw,
        }
    }
}

impl<Q, T> QueryId for AsOfQuery<Q, T> {
    type QueryId = ();
    // The tables are found in the text, so the text identifies the query.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: Query, T> Query for AsOfQuery<Q, T> {
    type SqlType = Q::SqlType;
}

impl<Q, T, Conn> RunQueryDsl<Conn> for AsOfQuery<Q, T> {}

/// The query under which the rows of a table stand: it hides the table itself, unless that is named with its schema.
fn name(place: usize, table: &TableName) -> String {
    let Some(schema) = table.schema() else {
        return table.name().to_string();
    };
    // Too long for a name, it would be cut, and could be another table's.
    Identifier::new(format!("{}.{}", schema.as_str(), table.name().as_str())).map_or_else(
        |_| format!("\"threadline table {place}\""),
        |name| name.to_string(),
    )
}

impl<Q, T> AsOfQuery<Q, T> {
    /// `WITH …` in front of the query, for each table that it reads.
    fn with(&self, reads: &Reads, moment: &str) -> String {
        let functions: Vec<_> = reads
            .functions
            .iter()
            .map(|name| Literal(name).to_string())
            .collect();
        let mut sql = format!(
            "WITH {MOMENT} (at) AS MATERIALIZED (SELECT threadline_at(CAST({moment} AS timestamptz), ARRAY[{}]::text[]))",
            functions.join(", ")
        );
        for (place, table) in reads.tables.iter().enumerate() {
            let fill = match &self.fill {
                Some((filled, fill)) if *filled == table.sql() => fill,
                _ => "{}",
            };
            // The last item says of how many rows the planner should think, and makes one.
            let _ = write!(
                sql,
                ", {} AS (SELECT r.* FROM threadline_moment(NULL::{}, {relation}::regclass, (SELECT at FROM {MOMENT}), {}) AS r, \
                 generate_series(1, threadline_size({relation}::regclass)) AS n WHERE n = 1)",
                name(place, table),
                table.sql(),
                Literal(fill),
                relation = Literal(&table.sql()),
            );
        }
        sql
    }
}

impl<Q: QueryFragment<Pg>, T: QueryFragment<Pg>> QueryFragment<Pg> for AsOfQuery<Q, T> {
    /// The order of the binds: the query's own come first, since a raw text numbers them.
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Text comes from here only when another query holds this one: its tables would be read as they are today.
        out.push_sql(") a query as of a moment can't be a part of another one (");
        self.query.walk_ast(out.reborrow())?;
        self.moment.walk_ast(out)
    }

    fn to_sql(&self, out: &mut <Pg as Backend>::QueryBuilder, backend: &Pg) -> QueryResult<()> {
        let render = |fragments: &[&dyn QueryFragment<Pg>]| {
            let mut builder = <Pg as Backend>::QueryBuilder::default();
            for fragment in fragments {
                fragment.to_sql(&mut builder, backend)?;
            }
            QueryResult::Ok(builder.finish())
        };
        let query = render(&[&self.query])?;
        // Rendered behind the query, so that its binds are numbered behind the query's.
        let both = render(&[&self.query, &self.moment])?;
        let reads = Reads::of(&query)?;
        out.push_sql(&self.with(&reads, &both[query.len()..]));
        let renamed = reads.renamed(&query, name);
        if self.is_raw {
            // Inside of parentheses nothing but a SELECT is legal, and a WITH of its own hides what it should.
            out.push_sql(&format!(
                " SELECT * FROM ({renamed}\n) AS \"threadline query\""
            ));
        } else {
            out.push_sql(" ");
            out.push_sql(&renamed);
        }
        Ok(())
    }
}
