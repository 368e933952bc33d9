//! A query as of a moment.

use std::fmt::Write as _;

use diesel::backend::Backend;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};

use super::items::items;
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
    /// Tables, each with what fills its columns where the log has no value.
    fills: Vec<(String, String)>,
    is_raw: bool,
    is_unscoped: bool,
}

/// The name of the query that gives the moment; a table can't be called so without quotes.
const MOMENT: &str = "\"threadline moment\"";

impl<Q, T> AsOfQuery<Q, T> {
    pub(in crate::query) fn new(query: Q, moment: T) -> Self {
        Self {
            query,
            moment,
            fills: Vec::new(),
            is_raw: false,
            is_unscoped: false,
        }
    }

    /// Of a text that Diesel doesn't know to be a SELECT.
    pub(super) fn raw(query: Q, moment: T) -> Self {
        Self {
            is_raw: true,
            ..Self::new(query, moment)
        }
    }

    /// With a model's fills, `#[audited(fill = …)]`, where the log has no value for a column of its table: the columns that the
    /// policy excludes, and those that came without a value for the rows of then. A query of several tables may be given
    /// several models. [`all_as_of`](crate::AuditedDsl::all_as_of) begins with those of its own model.
    ///
    /// A query doesn't know the models of its tables by itself, since a table may have several. Without a fill, such a column
    /// is NULL; and where that can't be, since it is NOT NULL, a query that uses it is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod app {
    /// #     diesel::table! { users (id) { id -> BigInt, email -> Text, logins -> Integer, } }
    /// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
    /// #     #[diesel(table_name = users)]
    /// #     pub struct User {
    /// #         pub id: i64,
    /// #         pub email: String,
    /// #         #[audited(exclude, fill = 0)]
    /// #         pub logins: i32,
    /// #     }
    /// # }
    /// # use app::{User, users};
    /// use chrono::{DateTime, Utc};
    /// use diesel::connection::LoadConnection;
    /// use diesel::{pg::Pg, prelude::*};
    /// use threadline::prelude::*;
    ///
    /// fn logins(
    ///     conn: &mut impl LoadConnection<Backend = Pg>,
    ///     moment: DateTime<Utc>,
    /// ) -> QueryResult<Vec<(String, i32)>> {
    ///     let all = users::table.select((users::email, users::logins));
    ///     all.as_of(moment).filled_by::<User>().load(conn)
    /// }
    /// ```
    pub fn filled_by<M: Audited>(mut self) -> Self {
        self.fills.push((rendered::<M::Table>(), fill::<M>()));
        self
    }

    /// Everything that the query selects may be seen, on purpose: what a [`Scope`](crate::Scope) is to other reads, the
    /// query's own filters are to this one.
    ///
    /// Without this, the query is refused where row level security is in force on one of its tables, since that is not in
    /// force on the table's history, and wherever the setting `threadline.require_scope` is on.
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::{DateTime, Utc};
    /// use diesel::connection::LoadConnection;
    /// use diesel::{pg::Pg, prelude::*};
    /// use threadline::prelude::*;
    ///
    /// diesel::table! { invoices (id) { id -> BigInt, tenant_id -> BigInt, } }
    ///
    /// fn invoices(
    ///     conn: &mut impl LoadConnection<Backend = Pg>,
    ///     tenant: i64,
    ///     moment: DateTime<Utc>,
    /// ) -> QueryResult<i64> {
    ///     let of_tenant = invoices::table.filter(invoices::tenant_id.eq(tenant));
    ///     of_tenant.count().as_of(moment).unscoped().get_result(conn)
    /// }
    /// ```
    pub fn unscoped(self) -> Self {
        Self {
            is_unscoped: true,
            ..self
        }
    }

    /// The same moment, of another query.
    pub(super) fn map<R>(self, change: impl FnOnce(Q) -> R) -> AsOfQuery<R, T> {
        AsOfQuery {
            query: change(self.query),
            moment: self.moment,
            fills: self.fills,
            is_raw: self.is_raw,
            is_unscoped: self.is_unscoped,
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

/// What a query that can only be rendered by itself reads like inside of another one. Three names in a row are legal
/// nowhere, so that the server shows one in its error.
const ALONE: &str = concat!(
    "\"this query as of a moment can only be loaded by itself\" ",
    "\"this query as of a moment can only be loaded by itself\" ",
    "\"this query as of a moment can only be loaded by itself\" "
);

/// A text with room for the moment.
struct With {
    head: String,
    tail: String,
}

impl<Q, T> AsOfQuery<Q, T> {
    /// `WITH …` in front of the query, for each table that it reads.
    fn with(&self, reads: &Reads) -> With {
        let functions: Vec<_> = reads
            .functions()
            .iter()
            .map(|name| Literal(name).to_string())
            .collect();
        let mut tail = format!(" AS timestamptz), ARRAY[{}]::text[])", functions.join(", "));
        if !self.is_unscoped {
            // With the moment, on which all of the tables wait.
            let relations: Vec<_> = reads
                .tables()
                .iter()
                .map(|table| Literal(&table.sql()).to_string())
                .collect();
            let _ = write!(
                tail,
                " WHERE threadline_moment_without_scope_v1(ARRAY[{}]::regclass[])",
                relations.join(", ")
            );
        }
        tail.push(')');
        for (place, table) in reads.tables().iter().enumerate() {
            let mut fills = self.fills.iter().rev();
            let fill = fills.find(|(filled, _)| *filled == table.sql());
            let columns: Vec<_> = reads
                .columns(table, self.is_raw)
                .into_iter()
                .map(|name| Literal(name).to_string())
                .collect();
            let function = format!(
                "threadline_moment(NULL::{}, {}::regclass, (SELECT at FROM {MOMENT}), {}, ARRAY[{}]::text[])",
                table.sql(),
                Literal(&table.sql()),
                Literal(fill.map_or("{}", |(_, fill)| fill)),
                columns.join(", "),
            );
            tail.push_str(", ");
            tail.push_str(&items(place, &name(place, table), &function));
        }
        tail.push(' ');
        With {
            head: format!("WITH {MOMENT} (at) AS MATERIALIZED (SELECT threadline_at(CAST("),
            tail,
        }
    }

    /// The text of the query has to be changed: where it is a raw one, and where tables are named with their schema.
    fn is_rewritten(&self, reads: &Reads) -> bool {
        self.is_raw || reads.tables().iter().any(|table| table.schema().is_some())
    }
}

impl<Q: QueryFragment<Pg>, T: QueryFragment<Pg>> QueryFragment<Pg> for AsOfQuery<Q, T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let reads = Reads::of(&render(&[&self.query], &Pg)?)?;
        let with = self.with(&reads);
        if self.is_rewritten(&reads) {
            // Text comes from here only inside of another query, which has no place for a changed one.
            out.push_sql(ALONE);
        }
        // A raw text numbers its binds, so they come first.
        if self.is_raw {
            self.query.walk_ast(out.reborrow())?;
            return self.moment.walk_ast(out);
        }
        out.push_sql(&with.head);
        self.moment.walk_ast(out.reborrow())?;
        out.push_sql(&with.tail);
        self.query.walk_ast(out)
    }

    fn to_sql(&self, out: &mut <Pg as Backend>::QueryBuilder, backend: &Pg) -> QueryResult<()> {
        // Rendered together, in the order of the binds, so that these are numbered rightly.
        let (query, moment) = if self.is_raw {
            let query = render(&[&self.query], backend)?;
            let both = render(&[&self.query, &self.moment], backend)?;
            let moment = both[query.len()..].to_owned();
            (query, moment)
        } else {
            let moment = render(&[&self.moment], backend)?;
            let both = render(&[&self.moment, &self.query], backend)?;
            let query = both[moment.len()..].to_owned();
            (query, moment)
        };
        let reads = Reads::of(&query)?;
        let With { head, tail } = self.with(&reads);
        let query = reads.renamed(&query, self.is_raw, name);
        for part in [&head, &moment, &tail] {
            out.push_sql(part);
        }
        if self.is_raw {
            // Inside of parentheses nothing but a SELECT is legal, and a WITH of its own hides what it should.
            out.push_sql(&format!(
                "SELECT * FROM ({query}\n) AS \"threadline query\""
            ));
        } else {
            out.push_sql(&query);
        }
        Ok(())
    }
}

/// The text of fragments, one behind the other.
fn render(fragments: &[&dyn QueryFragment<Pg>], backend: &Pg) -> QueryResult<String> {
    let mut builder = <Pg as Backend>::QueryBuilder::default();
    for fragment in fragments {
        fragment.to_sql(&mut builder, backend)?;
    }
    Ok(builder.finish())
}
