//! Changes by field and value.

mod sql;

use std::marker::PhantomData;

use diesel::expression::{AppearsOnTable, AsExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Bool, SqlType};

use super::source::Source;
use crate::audited::Audited;
pub use sql::Side;
use sql::{push_from, push_to, push_updated};

/// A condition of history queries: a change of a column; see [`where_changed`].
#[derive(Debug, Clone, Copy)]
#[must_use = "it is a condition for `.filter`"]
pub struct WhereChanged<C, From = Anything, To = Anything> {
    column: PhantomData<C>,
    from: From,
    to: To,
}

/// Whatever the value was.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct Anything;

/// One value.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct Exactly<E>(E);

/// A condition of history queries: a column had a value; see [`WhereChanged::had`].
#[derive(Debug, Clone, Copy)]
#[must_use = "it is a condition for `.filter`"]
pub struct Had<C, E> {
    column: PhantomData<C>,
    value: Exactly<E>,
}

/// Changes of a column, for `.filter` of a query of the model's changes: those from a value, to one, or any.
///
/// | condition | insert, baseline | update that changed the column | delete |
/// |---|---|---|---|
/// | `where_changed(c)` | | holds | |
/// | `.to(v)` | if the row came with `v` | if `v` is the value after | |
/// | `.from(v)` | | if `v` was the value before | if the row went with `v` |
/// | `.had(v)` | as `to` | as `from` or as `to` | as `from` |
///
/// # What equals what
///
/// The value is cast to the type that the column has today, printed as capture prints it, whatever the session's settings,
/// and compared as `jsonb`: numbers by value (`1.0` equals `1.00`), text to the letter also where the column's type or
/// collation ignores case, JSON documents as `jsonb` does, timestamps as the instants that they are. NULL is a value:
/// `.to(None::<String>)`.
///
/// A redacted value and one that was too large for the log never match, not even by their placeholder. A column in
/// `except_columns` is not in `changed_fields`, so its updates don't match.
///
/// # Where the value before comes from
///
/// From the change, if the table keeps the values before, and else from the row's earlier history. What the log doesn't
/// know doesn't match.
///
/// # Cost
///
/// No index of the audit schema has values: every change of the table is looked at. Filter by `captured_at` too, which goes by
/// the index of table and time, or ask for one row: `User::history(42).filter(…)`. `.to(v)` is served by an optional index,
/// which makes each captured change dearer:
///
/// ```sql
/// CREATE INDEX CONCURRENTLY audit_changes_data_after ON audit_changes USING gin (data_after jsonb_path_ops);
/// ```
///
/// # Examples
///
/// ```
/// # mod app {
/// #     diesel::table! { users (id) { id -> BigInt, email -> Text, } }
/// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
/// #     #[diesel(table_name = users)]
/// #     pub struct User { pub id: i64, pub email: String }
/// # }
/// # use app::{User, users};
/// use diesel::connection::LoadConnection;
/// use diesel::{pg::Pg, prelude::*};
/// use threadline::{Change, change, prelude::*, where_changed};
///
/// /// Whoever had this address once.
/// fn ever_had(conn: &mut impl LoadConnection<Backend = Pg>, email: &str) -> QueryResult<Vec<Change<User>>> {
///     User::changes()
///         .filter(where_changed(users::email).had(email))
///         .order(change::id)
///         .load(conn)
/// }
///
/// let moved = User::changes().filter(where_changed(users::email).from("a@x").to("b@x"));
/// # let _ = moved;
/// ```
pub fn where_changed<C: Column>(_: C) -> WhereChanged<C> {
    WhereChanged {
        column: PhantomData,
        from: Anything,
        to: Anything,
    }
}

impl<C, To> WhereChanged<C, Anything, To>
where
    C: Column,
    C::SqlType: SqlType,
{
    /// Changes that took this value away.
    pub fn from<V: AsExpression<C::SqlType>>(
        self,
        value: V,
    ) -> WhereChanged<C, Exactly<V::Expression>, To> {
        WhereChanged {
            column: PhantomData,
            from: Exactly(value.as_expression()),
            to: self.to,
        }
    }
}

impl<C, From> WhereChanged<C, From, Anything>
where
    C: Column,
    C::SqlType: SqlType,
{
    /// Changes that brought this value.
    pub fn to<V: AsExpression<C::SqlType>>(
        self,
        value: V,
    ) -> WhereChanged<C, From, Exactly<V::Expression>> {
        WhereChanged {
            column: PhantomData,
            from: self.from,
            to: Exactly(value.as_expression()),
        }
    }
}

impl<C> WhereChanged<C>
where
    C: Column,
    C::SqlType: SqlType,
{
    /// Changes that brought this value or took it away.
    pub fn had<V: AsExpression<C::SqlType>>(self, value: V) -> Had<C, V::Expression> {
        Had {
            column: PhantomData,
            value: Exactly(value.as_expression()),
        }
    }
}

impl<C, From, To> QueryFragment<Pg> for WhereChanged<C, From, To>
where
    C: Column,
    C::Table: QueryFragment<Pg> + Default,
    From: Side,
    To: Side,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("(");
        match (From::ANYTHING, To::ANYTHING) {
            (true, true) => push_updated::<C>(&mut out),
            (false, true) => push_from::<C, _>(&self.from, &mut out)?,
            (true, false) => push_to::<C, _>(&self.to, &mut out)?,
            (false, false) => {
                push_to::<C, _>(&self.to, &mut out)?;
                out.push_sql(" AND ");
                push_from::<C, _>(&self.from, &mut out)?;
            }
        }
        out.push_sql(")");
        Ok(())
    }
}

impl<C, E> QueryFragment<Pg> for Had<C, E>
where
    C: Column,
    C::Table: QueryFragment<Pg> + Default,
    E: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("(");
        push_to::<C, _>(&self.value, &mut out)?;
        out.push_sql(" OR ");
        push_from::<C, _>(&self.value, &mut out)?;
        out.push_sql(")");
        Ok(())
    }
}

impl<C: 'static, F: QueryId, T: QueryId> QueryId for WhereChanged<C, F, T> {
    type QueryId = WhereChanged<C, F::QueryId, T::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = F::HAS_STATIC_QUERY_ID && T::HAS_STATIC_QUERY_ID;
}

impl<C: 'static, E: QueryId> QueryId for Had<C, E> {
    type QueryId = Had<C, E::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = E::HAS_STATIC_QUERY_ID;
}

impl<C, From, To> Expression for WhereChanged<C, From, To> {
    type SqlType = Bool;
}

impl<C, E> Expression for Had<C, E> {
    type SqlType = Bool;
}

impl<C, From, To> ValidGrouping<()> for WhereChanged<C, From, To> {
    type IsAggregate = is_aggregate::No;
}

impl<C, E> ValidGrouping<()> for Had<C, E> {
    type IsAggregate = is_aggregate::No;
}

impl Expression for Anything {
    type SqlType = Bool;
}

impl<QS> AppearsOnTable<QS> for Anything {}

impl<E: Expression> Expression for Exactly<E> {
    type SqlType = E::SqlType;
}

impl<QS, E: AppearsOnTable<QS>> AppearsOnTable<QS> for Exactly<E> {}

impl<M, S, C, From, To> AppearsOnTable<Source<M, S>> for WhereChanged<C, From, To>
where
    M: Audited,
    C: Column<Table = M::Table>,
    From: AppearsOnTable<Source<M, S>>,
    To: AppearsOnTable<Source<M, S>>,
{
}

impl<M, S, C, E> AppearsOnTable<Source<M, S>> for Had<C, E>
where
    M: Audited,
    C: Column<Table = M::Table>,
    E: AppearsOnTable<Source<M, S>>,
{
}
