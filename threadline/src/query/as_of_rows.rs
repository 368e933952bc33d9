//! Rows at a moment, by their keys: one, or several.

use std::fmt;
use std::marker::PhantomData;

use diesel::dsl::AsSelect;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

use super::as_of::AsOf;
use super::scope::{Judged, Scope, push_asked_of};
use super::table::{push_decoded, push_relation, push_selection};
use crate::audited::Audited;

/// A query of one [`AsOf`] for each key; see [`AuditedDsl::as_of`](crate::AuditedDsl::as_of) and
/// [`AuditedDsl::as_of_many`](crate::AuditedDsl::as_of_many).
#[must_use = "queries do nothing until they are loaded"]
pub struct AsOfKeys<M, K, T> {
    keys: K,
    moment: T,
    scope: Option<Scope>,
    model: PhantomData<fn() -> M>,
}

/// A query of exactly one [`AsOf`].
pub type AsOfRow<M, K, T> = AsOfKeys<M, OneKey<K>, T>;

/// A query of one [`AsOf`] for each of several keys, in their order.
pub type AsOfRows<M, K, T> = AsOfKeys<M, ManyKeys<K>, T>;

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct OneKey<K>(pub(super) K);

/// Several keys.
#[derive(Debug, Clone)]
pub struct ManyKeys<K>(pub(super) Vec<K>);

/// Keys, in the SQL of the query that asks for them.
pub trait Keys {
    /// What the query is ordered by, and leaves out.
    const ORDER: &'static str;

    /// A FROM item that has them, if it takes one, with what joins the next to it.
    ///
    /// # Errors
    ///
    /// Whatever rendering the keys raises.
    fn push_from<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;

    /// The key of the row.
    ///
    /// # Errors
    ///
    /// Whatever rendering the key raises.
    fn push_key<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
}

impl<K: QueryFragment<Pg>> Keys for OneKey<K> {
    const ORDER: &'static str = "";

    fn push_from<'b>(&'b self, _: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        Ok(())
    }

    fn push_key<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("jsonb_build_object(");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

impl<K: QueryFragment<Pg>> Keys for ManyKeys<K> {
    const ORDER: &'static str = " WHERE tl_k.place IS NOT NULL ORDER BY tl_k.place";

    fn push_from<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // A statement for every number of keys isn't worth keeping.
        out.unsafe_to_cache_prepared();
        // The first is there so that the list is legal without any key.
        out.push_sql("(VALUES (NULL::integer, NULL::jsonb)");
        for (place, key) in self.0.iter().enumerate() {
            out.push_sql(&format!(", ({place}, jsonb_build_object("));
            key.walk_ast(out.reborrow())?;
            out.push_sql("))");
        }
        out.push_sql(") AS tl_k (place, key) CROSS JOIN LATERAL ");
        Ok(())
    }

    fn push_key<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("tl_k.key");
        Ok(())
    }
}

impl<M, K, T> AsOfKeys<M, K, T> {
    pub(super) fn new(keys: K, moment: T, scope: Option<Scope>) -> Self {
        Self {
            keys,
            moment,
            scope,
            model: PhantomData,
        }
    }
}

impl<M, K: Clone, T: Clone> Clone for AsOfKeys<M, K, T> {
    fn clone(&self) -> Self {
        Self::new(self.keys.clone(), self.moment.clone(), self.scope.clone())
    }
}

impl<M, K: fmt::Debug, T: fmt::Debug> fmt::Debug for AsOfKeys<M, K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsOfKeys")
            .field("keys", &self.keys)
            .field("moment", &self.moment)
            .field("scope", &self.scope)
            .finish()
    }
}

impl<M, K, T> QueryId for AsOfKeys<M, K, T> {
    type QueryId = ();
    // The text depends on the scope and on the number of keys.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<M, K, T> Query for AsOfKeys<M, K, T>
where
    M: Audited + Selectable<Pg>,
    AsOf<M>: Selectable<Pg>,
{
    // Through a selection of its own, so that `.load(conn)` infers `AsOf<M>`.
    type SqlType = AsSelect<AsOf<M>, Pg>;
}

impl<M, K, T, Conn> RunQueryDsl<Conn> for AsOfKeys<M, K, T> {}

impl<M, K, T> QueryFragment<Pg> for AsOfKeys<M, K, T>
where
    M: Audited + Selectable<Pg>,
    M::SelectExpression: QueryFragment<Pg>,
    K: Keys,
    T: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT tl_a.outcome, (tl_a.change).id, (tl_a.change).transaction_id, (tl_a.change).captured_at, \
             tl_r.redacted, tl_r.problem, tl_a.outcome = 'found', tl_r.absent, ",
        );
        push_selection::<M>(&mut out, &M::construct_selection())?;
        out.push_sql(" FROM ");
        self.keys.push_from(out.reborrow())?;
        out.push_sql("threadline_as_of(");
        push_asked_of::<M>(self.scope.as_ref(), &mut out);
        out.push_sql(", ");
        self.keys.push_key(out.reborrow())?;
        out.push_sql(", ");
        self.push_moment(&mut out)?;
        match Scope::restricting(&self.scope) {
            None => out.push_sql(") AS tl_a"),
            Some(scope) => {
                out.push_sql(") AS tl_f");
                self.push_visible(scope, &mut out)?;
            }
        }
        push_decoded::<M>(
            &mut out,
            "CASE WHEN tl_a.outcome = 'found' THEN threadline_whole(tl_a.change) END",
        )?;
        out.push_sql(K::ORDER);
        Ok(())
    }
}

impl<M: Audited, K: Keys, T: QueryFragment<Pg>> AsOfKeys<M, K, T> {
    fn push_moment<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // A subquery, so that the moment is the same for all of them.
        out.push_sql("(SELECT CAST(");
        self.moment.walk_ast(out.reborrow())?;
        out.push_sql(" AS timestamptz))");
        Ok(())
    }

    /// The answer `tl_a`: `tl_f` if its row is in scope, and otherwise that for a row which never was. So is the answer where
    /// no change tells of the row, since a later one might.
    fn push_visible<'b>(
        &'b self,
        scope: &'b Scope,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql(
            " CROSS JOIN LATERAL (SELECT tl_f.outcome, tl_f.change, threadline_judged_v1(tl_f.change, ",
        );
        push_relation::<M>(out);
        out.push_sql(", ");
        self.keys.push_key(out.reborrow())?;
        out.push_sql(
            ") AS judged OFFSET 0) AS tl_j CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM (SELECT (tl_j.judged).*) AS tl_c \
             WHERE tl_c.id IS NOT NULL",
        );
        scope.push(out, "tl_c", Judged::Row)?;
        out.push_sql(") AS visible OFFSET 0) AS tl_v CROSS JOIN LATERAL (SELECT CASE WHEN tl_v.visible THEN tl_j.outcome ELSE threadline_never_v1(");
        push_relation::<M>(out);
        out.push_sql(", ");
        self.push_moment(out)?;
        out.push_sql(
            ") END AS outcome, CASE WHEN tl_v.visible THEN tl_j.change END AS change) AS tl_a",
        );
        Ok(())
    }
}
