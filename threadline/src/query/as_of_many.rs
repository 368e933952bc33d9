//! Several rows at a moment.

use std::fmt;
use std::marker::PhantomData;

use diesel::dsl::AsSelect;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

use super::as_of::{AsOf, push_found, push_outcome, push_visible, restricting};
use super::scope::{Scope, push_asked_of};
use crate::audited::Audited;

/// A query of one [`AsOf`] for each key; see [`AuditedDsl::as_of_many`](crate::AuditedDsl::as_of_many).
#[must_use = "queries do nothing until they are loaded"]
pub struct AsOfRows<M, K, T> {
    keys: Vec<K>,
    moment: T,
    scope: Option<Scope>,
    model: PhantomData<fn() -> M>,
}

impl<M, K, T> AsOfRows<M, K, T> {
    pub(super) fn new(keys: Vec<K>, moment: T, scope: Option<Scope>) -> Self {
        Self {
            keys,
            moment,
            scope,
            model: PhantomData,
        }
    }
}

impl<M, K: Clone, T: Clone> Clone for AsOfRows<M, K, T> {
    fn clone(&self) -> Self {
        Self::new(self.keys.clone(), self.moment.clone(), self.scope.clone())
    }
}

impl<M, K: fmt::Debug, T: fmt::Debug> fmt::Debug for AsOfRows<M, K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsOfRows")
            .field("keys", &self.keys)
            .field("moment", &self.moment)
            .field("scope", &self.scope)
            .finish()
    }
}

impl<M, K, T> QueryId for AsOfRows<M, K, T> {
    type QueryId = ();
    // The text depends on the number of keys.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<M, K, T> Query for AsOfRows<M, K, T>
where
    M: Audited + Selectable<Pg>,
    AsOf<M>: Selectable<Pg>,
{
    // Through a selection of its own, so that `.load(conn)` infers `AsOf<M>`.
    type SqlType = AsSelect<AsOf<M>, Pg>;
}

impl<M, K, T, Conn> RunQueryDsl<Conn> for AsOfRows<M, K, T> {}

impl<M, K, T> QueryFragment<Pg> for AsOfRows<M, K, T>
where
    M: Audited + Selectable<Pg>,
    M::SelectExpression: QueryFragment<Pg>,
    K: QueryFragment<Pg>,
    T: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // A statement for every number of keys isn't worth keeping.
        out.unsafe_to_cache_prepared();
        push_outcome::<M>(&mut out)?;
        out.push_sql(" FROM (VALUES (NULL::integer, NULL::jsonb)");
        for (place, key) in self.keys.iter().enumerate() {
            out.push_sql(", (");
            out.push_sql(&place.to_string());
            out.push_sql(", jsonb_build_object(");
            key.walk_ast(out.reborrow())?;
            out.push_sql("))");
        }
        // The first is there so that the list is legal without any key.
        out.push_sql(") AS tl_k (place, key) CROSS JOIN LATERAL threadline_as_of(");
        push_asked_of::<M>(self.scope.as_ref(), &mut out);
        out.push_sql(", tl_k.key, ");
        self.push_moment(&mut out)?;
        let hidden_by = restricting(&self.scope);
        out.push_sql(match hidden_by {
            None => ") AS tl_a",
            Some(_) => ") AS tl_f",
        });
        if let Some(scope) = hidden_by {
            let key = |out: &mut AstPass<'_, 'b, Pg>| {
                out.push_sql("tl_k.key");
                Ok(())
            };
            push_visible::<M>(scope, &mut out, key, |out| self.push_moment(out))?;
        }
        push_found::<M>(&mut out)?;
        out.push_sql(" WHERE tl_k.place IS NOT NULL ORDER BY tl_k.place");
        Ok(())
    }
}

impl<M, K, T: QueryFragment<Pg>> AsOfRows<M, K, T> {
    fn push_moment<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // A subquery, so that the moment is the same for all of them.
        out.push_sql("(SELECT CAST(");
        self.moment.walk_ast(out.reborrow())?;
        out.push_sql(" AS timestamptz))");
        Ok(())
    }
}
