//! What history queries select from.

use std::fmt;
use std::marker::PhantomData;

use diesel::dsl::AsSelect;
use diesel::expression::SelectableExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::query_source::{AppearsInFromClause, Once};

use super::change::Change;
use super::table::{push_decoded, push_recipe, push_relation};
use crate::audited::Audited;

/// A FROM item: changes of `M`, each with its transaction and with its row, decoded, under the name of the model's
/// table. `F` says which changes.
pub struct Source<M, F> {
    filter: F,
    model: PhantomData<fn() -> M>,
}

/// All changes of the table.
#[derive(Debug, Clone, Copy, Default, QueryId)]
pub struct OfTable;

/// The changes of the row with this key.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct OfRow<K>(pub(super) K);

/// The set-returning function that reads the changes, as the FROM item calls it.
pub trait ChangeFilter {
    /// Its name.
    const FUNCTION: &'static str;

    /// Its arguments after the table.
    ///
    /// # Errors
    ///
    /// Whatever rendering the key raises.
    fn push_arguments<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

impl ChangeFilter for OfTable {
    const FUNCTION: &'static str = "threadline_changes";

    fn push_arguments<'b>(&'b self, _: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        Ok(())
    }
}

impl<K: QueryFragment<Pg>> ChangeFilter for OfRow<K> {
    const FUNCTION: &'static str = "threadline_history";

    fn push_arguments<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(", jsonb_build_object(");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

impl<M, F> Source<M, F> {
    pub(super) fn new(filter: F) -> Self {
        Self {
            filter,
            model: PhantomData,
        }
    }
}

impl<M, F: Clone> Clone for Source<M, F> {
    fn clone(&self) -> Self {
        Self::new(self.filter.clone())
    }
}

impl<M, F: Copy> Copy for Source<M, F> {}

impl<M, F: fmt::Debug> fmt::Debug for Source<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.filter).finish()
    }
}

impl<M: 'static, F: QueryId> QueryId for Source<M, F> {
    type QueryId = Source<M, F::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = F::HAS_STATIC_QUERY_ID;
}

impl<M, F> QuerySource for Source<M, F>
where
    M: Audited + Selectable<Pg>,
    F: Clone,
    Change<M>: Selectable<Pg>,
    AsSelect<Change<M>, Pg>: SelectableExpression<Self>,
{
    type FromClause = Self;
    type DefaultSelection = AsSelect<Change<M>, Pg>;

    fn from_clause(&self) -> Self {
        self.clone()
    }

    fn default_selection(&self) -> Self::DefaultSelection {
        Change::<M>::as_select()
    }
}

/// The model's own columns may be used, and those of no other table.
impl<M: Audited, F> AppearsInFromClause<M::Table> for Source<M, F> {
    type Count = Once;
}

impl<M: Audited, F: ChangeFilter> QueryFragment<Pg> for Source<M, F> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(F::FUNCTION);
        out.push_sql("(");
        push_relation::<M>(&mut out);
        self.filter.push_arguments(out.reborrow())?;
        // A LEFT JOIN, because a change whose transaction is lost is still a change. What the line says itself is not asked
        // for. OFFSET 0, so that the state is made once and not for each use.
        out.push_sql(
            ") AS tl_c LEFT JOIN audit_transactions AS tl_t ON tl_t.id = tl_c.transaction_id \
             CROSS JOIN LATERAL (SELECT CASE WHEN tl_c.op = 'delete' OR tl_c.op = 'update' AND jsonb_exists(",
        );
        push_recipe::<M>(&mut out);
        out.push_sql(
            ", 'on_change') THEN threadline_state(tl_c) ELSE tl_c.data_after END AS data OFFSET 0) AS tl_s",
        );
        push_decoded::<M>(&mut out, "tl_s.data")
    }
}
