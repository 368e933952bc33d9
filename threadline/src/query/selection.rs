//! What history queries select unless told otherwise.

use std::fmt;

use diesel::expression::{
    AppearsOnTable, SelectableExpression, TypedExpressionType, ValidGrouping, is_aggregate,
};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::IntoNullable;

use super::change::{Change, DecodedSql};
use super::columns::{ChangeColumns, ChangeSql, TransactionColumns, TransactionSql};
use super::source::Source;
use super::table::push_selection;
use crate::audited::Audited;

/// The columns of a [`Change`]: of the change, of its transaction, and what the model selects of the row.
pub struct ChangeSelection<M: Selectable<Pg>> {
    change: ChangeColumns,
    transaction: TransactionColumns,
    model: M::SelectExpression,
}

impl<M: Selectable<Pg>> fmt::Debug for ChangeSelection<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChangeSelection")
    }
}

impl<M> Selectable<Pg> for Change<M>
where
    M: Audited + Selectable<Pg>,
    ChangeSelection<M>: Expression,
{
    type SelectExpression = ChangeSelection<M>;

    fn construct_selection() -> Self::SelectExpression {
        ChangeSelection {
            change: Default::default(),
            transaction: Default::default(),
            model: M::construct_selection(),
        }
    }
}

impl<M: Audited + Selectable<Pg>> QueryId for ChangeSelection<M> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

type SelectionSql<M> = (
    ChangeSql,
    TransactionSql,
    DecodedSql<<<M as Selectable<Pg>>::SelectExpression as Expression>::SqlType>,
);

impl<M: Selectable<Pg>> Expression for ChangeSelection<M>
where
    SelectionSql<M>: TypedExpressionType,
{
    type SqlType = SelectionSql<M>;
}

impl<M: Selectable<Pg>> ValidGrouping<()> for ChangeSelection<M> {
    type IsAggregate = is_aggregate::No;
}

impl<M: Selectable<Pg>, F> AppearsOnTable<Source<M, F>> for ChangeSelection<M> where Self: Expression
{}

impl<M: Selectable<Pg>, F> SelectableExpression<Source<M, F>> for ChangeSelection<M> where
    Self: Expression
{
}

impl<M> QueryFragment<Pg> for ChangeSelection<M>
where
    M: Audited + Selectable<Pg>,
    M::SelectExpression: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.change.walk_ast(out.reborrow())?;
        out.push_sql(", ");
        self.transaction.walk_ast(out.reborrow())?;
        out.push_sql(", tl_r.problem, tl_s.data IS NOT NULL, tl_r.absent, ");
        push_selection::<M>(&mut out, &self.model)
    }
}

/// A column of the model in the recorded row; see [`recorded`].
#[derive(Debug, Clone, Copy, QueryId)]
pub struct Recorded<E>(E);

/// A column of the model as the log recorded it: nullable, since there may be no row.
///
/// Needed to select columns, and for columns of a table with a schema, which can't be named plainly in a history query.
///
/// # Examples
///
/// ```
/// # mod app {
/// #     diesel::table! { billing.invoices (id) { id -> BigInt, total -> BigInt, } }
/// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
/// #     #[diesel(table_name = invoices)]
/// #     pub struct Invoice { id: i64, total: i64 }
/// # }
/// # use app::{invoices, Invoice};
/// use diesel::prelude::*;
/// use threadline::{change, prelude::*, recorded};
///
/// let large = Invoice::history(7)
///     .filter(recorded(invoices::total).gt(1_000))
///     .select((change::op, recorded(invoices::total)));
/// ```
#[must_use]
pub fn recorded<E>(column: E) -> Recorded<E>
where
    Recorded<E>: Expression,
{
    Recorded(column)
}

impl<C> Expression for Recorded<C>
where
    C: Column,
    C::SqlType: IntoNullable,
    <C::SqlType as IntoNullable>::Nullable: TypedExpressionType,
{
    type SqlType = <C::SqlType as IntoNullable>::Nullable;
}

impl<M, F, C> AppearsOnTable<Source<M, F>> for Recorded<C>
where
    M: Audited,
    C: Column<Table = M::Table>,
    Self: Expression,
{
}

impl<M, F, C> SelectableExpression<Source<M, F>> for Recorded<C>
where
    M: Audited,
    C: Column<Table = M::Table>,
    Self: Expression,
{
}

impl<C> ValidGrouping<()> for Recorded<C> {
    type IsAggregate = is_aggregate::No;
}

impl<C: Column> QueryFragment<Pg> for Recorded<C>
where
    C::Table: QueryFragment<Pg> + Default,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_identifier(&super::table::name_of::<C::Table>()?)?;
        out.push_sql(".");
        out.push_identifier(C::NAME)
    }
}
