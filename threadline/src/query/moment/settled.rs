use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Bool, Timestamptz};

/// The query that [`settled`] returns.
#[derive(Debug, Clone, Copy, QueryId)]
#[must_use = "queries do nothing until they are loaded"]
pub struct Settled<T> {
    moment: T,
}

/// Whether what was committed by a moment is known for good: no transaction that was open then still runs.
///
/// A transaction gets its place in time a little before it is visible to others. So a query as of a moment that is not
/// settled may show less than the same query later; once it is settled, it shows the same for ever. Ask first, and then
/// query. The answer is a `bool`, and `false` where it can't be known: of a moment in the future, and, for a role that
/// isn't a member of `pg_read_all_stats`, of one since which nothing was committed while other transactions run.
///
/// # Examples
///
/// ```
/// use chrono::{DateTime, Utc};
/// use diesel::connection::LoadConnection;
/// use diesel::{pg::Pg, prelude::*};
///
/// fn is_final(conn: &mut impl LoadConnection<Backend = Pg>, moment: DateTime<Utc>) -> QueryResult<bool> {
///     threadline::settled(moment).get_result(conn)
/// }
/// ```
pub fn settled<T: AsExpression<Timestamptz>>(moment: T) -> Settled<T::Expression> {
    Settled {
        moment: moment.as_expression(),
    }
}

impl<T: QueryFragment<Pg>> QueryFragment<Pg> for Settled<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT threadline_settled(CAST(");
        self.moment.walk_ast(out.reborrow())?;
        out.push_sql(" AS timestamptz))");
        Ok(())
    }
}

impl<T> Query for Settled<T> {
    type SqlType = Bool;
}

impl<T, Conn> RunQueryDsl<Conn> for Settled<T> {}
