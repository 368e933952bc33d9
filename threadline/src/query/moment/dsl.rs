use diesel::expression::AsExpression;
use diesel::query_builder::{AsQuery, SelectQuery};
use diesel::sql_types::Timestamptz;

use super::AsOfQuery;

/// A query that is known to be a SELECT.
#[diagnostic::on_unimplemented(
    message = "only a SELECT can be asked as of a moment",
    label = "not known to be a SELECT",
    note = "for SQL as text, use `threadline::as_of_raw`"
)]
pub trait IsSelect: SelectQuery {}

#[diagnostic::do_not_recommend]
impl<Q: SelectQuery> IsSelect for Q {}

/// `.as_of(moment)` on Diesel queries.
pub trait QueryAsOf: AsQuery + Sized {
    /// The query over its tables as they were at a moment: any SELECT, with joins, aliases, aggregates, subselects, unions.
    ///
    /// It goes by the time of commit: what counts are the transactions that had committed at the moment, each as a whole,
    /// one cut across all tables. (That is not the time of writing, by which [`Model::as_of`](crate::AuditedDsl::as_of) of
    /// a single row goes.) Changes of the asking transaction itself are not there. [`settled`](crate::settled) tells whether
    /// the answer is final.
    ///
    /// Rows are decoded as history decodes them; a redacted column is its placeholder where the column needs a text, and
    /// NULL elsewhere. Where the column can't be NULL, a query that uses it needs the model that has a fill for it:
    /// [`filled_by`](AsOfQuery::filled_by). The tables are made of the log alone, each as a whole and once, at a few
    /// microseconds a row and half of one for each of its changes, whatever the query asks of them: for one row by its key,
    /// [`Model::as_of`](crate::AuditedDsl::as_of) is quicker. There are no indexes on them, so these take time for each pair
    /// of rows: a subselect that gives a value for each row of the outer query, a join by anything but an equation, and the
    /// search for the first rows of a join (`first()` or `limit` without an order, `exists` of a join) where hardly any qualify.
    ///
    /// # Errors
    ///
    /// When it is loaded: an [`AsOfError`](crate::AsOfError) for a FROM that isn't recognised (a function, ONLY, a comma),
    /// and for grouping by a primary key alone. An error of the server that names the table, for one that isn't audited or
    /// isn't known as a whole at the moment, for a view, for a row that doesn't fit the table any more, and for a NOT NULL
    /// column that is kept out of the log, if the query uses it without a fill; and for a function of the application's own that could read tables as they are today. Likewise where a scope is asked for:
    /// see [`AsOfQuery::unscoped`].
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::{DateTime, Utc};
    /// use diesel::connection::LoadConnection;
    /// use diesel::{pg::Pg, prelude::*};
    /// use threadline::prelude::*;
    ///
    /// diesel::table! { users (id) { id -> BigInt, email -> Text, } }
    /// diesel::table! { posts (id) { id -> BigInt, user_id -> BigInt, title -> Text, } }
    /// diesel::joinable!(posts -> users (user_id));
    /// diesel::allow_tables_to_appear_in_same_query!(users, posts);
    ///
    /// fn titles(
    ///     conn: &mut impl LoadConnection<Backend = Pg>,
    ///     moment: DateTime<Utc>,
    /// ) -> QueryResult<Vec<(String, String)>> {
    ///     users::table
    ///         .inner_join(posts::table)
    ///         .filter(users::email.like("%@example.com"))
    ///         .select((users::email, posts::title))
    ///         .as_of(moment)
    ///         .load(conn)
    /// }
    /// ```
    #[expect(
        clippy::wrong_self_convention,
        reason = "it is the name of what SQL calls AS OF"
    )]
    fn as_of<T: AsExpression<Timestamptz>>(self, moment: T) -> AsOfQuery<Self::Query, T::Expression>
    where
        Self::Query: IsSelect,
    {
        AsOfQuery::new(self.as_query(), moment.as_expression())
    }
}

impl<Q: AsQuery> QueryAsOf for Q {}

/// As [`QueryAsOf::as_of`], for a text: a single SELECT without a semicolon, which may begin with WITH.
///
/// Nothing is asked of the server beforehand: the text is read for what it selects from, and whatever isn't recognised is
/// refused, as in a typed query; the server refuses the rest when it runs. Columns keep their names, so
/// [`QueryableByName`](diesel::QueryableByName) works.
///
/// # Errors
///
/// When it is loaded, as for [`QueryAsOf::as_of`].
///
/// # Examples
///
/// ```
/// use chrono::{DateTime, Utc};
/// use diesel::connection::LoadConnection;
/// use diesel::sql_types::{BigInt, Text};
/// use diesel::{pg::Pg, prelude::*, sql_query};
///
/// #[derive(QueryableByName)]
/// struct Total {
///     #[diesel(sql_type = BigInt)]
///     total: i64,
/// }
///
/// fn total(conn: &mut impl LoadConnection<Backend = Pg>, moment: DateTime<Utc>) -> QueryResult<Total> {
///     let open = sql_query("SELECT sum(total)::bigint AS total FROM invoices WHERE state = $1").bind::<Text, _>("open");
///     threadline::as_of_raw(open, moment).get_result(conn)
/// }
/// ```
pub fn as_of_raw<Q: AsQuery, T: AsExpression<Timestamptz>>(
    query: Q,
    moment: T,
) -> AsOfQuery<Q::Query, T::Expression> {
    AsOfQuery::raw(query.as_query(), moment.as_expression())
}
