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

/// Whether the result of a query as of a timestamp is final: no transaction that was open then can still become visible.
///
/// A transaction gets its commit time a little before it is visible to others. So a query as of a timestamp that is not
/// settled may show less than the same query later; once it is settled, it shows the same for ever. Ask first, and then
/// query. The answer is a `bool`; `false` means that a transaction is still open, or that it can't be known:
///
/// | server | `true` when | `false` although nothing is open |
/// |---|---|---|
/// | primary | every transaction of the database that was open at the timestamp has ended, prepared ones included | of the future; while no audited transaction began since the timestamp: in a repeatable read transaction, and, if others run, for roles that aren't members of `pg_read_all_stats` |
/// | standby | an audited transaction that began after the timestamp was replayed, and so was the end of all that had a transaction id before it | until the next audited transaction; while an older transaction of any database of the primary is open |
/// | logical subscriber | never: nothing there tells what runs on the publisher | always, while a subscription feeds an audit table, even if it is disabled |
/// | restored dump | as on a primary, once an audited transaction was committed there | until then: a log that a restore or a replication tool may still be copying looks the same |
///
/// Copied transactions are recognised because the `xmin` of their rows isn't the transaction id that they name. A tool that
/// copies rows into a log in which the server's own audited transactions go on is not recognised: ask where the rows were
/// written. Nor is the copying itself a transaction that was open at the timestamp: ask when a restore is complete.
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
