//! One row at a moment.

use std::fmt;
use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromStaticSqlRow, Queryable};
use diesel::dsl::AsSelect;
use diesel::expression::TypedExpressionType;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid};

use super::change::{Decoded, DecodedSql};
use super::scope::{Judged, Scope, push_asked_of};
use super::table::{push_decoded, push_relation, push_selection};
use crate::audited::Audited;

/// A row at a moment, or why there is none.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AsOf<M> {
    /// The row as it was.
    Found {
        /// The row.
        row: M,
        /// The change that had left it so.
        origin: Origin,
        /// Columns whose value the capture policy keeps out of the log.
        redacted: Vec<String>,
    },
    /// The row had been deleted, or its table truncated.
    Deleted(Origin),
    /// The log covers the moment and knows of no such row.
    NotYetCreated,
    /// The log doesn't reach back to the moment: capture began later, or was interrupted.
    Unknown,
    /// The recorded row doesn't fit the table or the model any more.
    Undecodable {
        /// Which column, and why.
        problem: String,
        /// The change that recorded it.
        origin: Origin,
    },
}

/// The change that an [`AsOf`] comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// `audit_changes.id`.
    pub change_id: i64,
    /// Its transaction.
    pub transaction_id: uuid::Uuid,
    /// When it was written.
    pub captured_at: DateTime<Utc>,
}

impl<M> AsOf<M> {
    /// The row, if it was found.
    #[must_use]
    pub fn into_row(self) -> Option<M> {
        match self {
            Self::Found { row, .. } => Some(row),
            _ => None,
        }
    }
}

/// A query of exactly one [`AsOf`]; see [`AuditedDsl::as_of`](crate::AuditedDsl::as_of).
#[must_use = "queries do nothing until they are loaded"]
pub struct AsOfRow<M, K, T> {
    key: K,
    moment: T,
    scope: Option<Scope>,
    model: PhantomData<fn() -> M>,
}

impl<M, K, T> AsOfRow<M, K, T> {
    pub(super) fn new(key: K, moment: T, scope: Option<Scope>) -> Self {
        Self {
            key,
            moment,
            scope,
            model: PhantomData,
        }
    }
}

impl<M, K: Clone, T: Clone> Clone for AsOfRow<M, K, T> {
    fn clone(&self) -> Self {
        Self::new(self.key.clone(), self.moment.clone(), self.scope.clone())
    }
}

impl<M, K: fmt::Debug, T: fmt::Debug> fmt::Debug for AsOfRow<M, K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsOfRow")
            .field("key", &self.key)
            .field("moment", &self.moment)
            .field("scope", &self.scope)
            .finish()
    }
}

impl<M, K, T> QueryId for AsOfRow<M, K, T> {
    type QueryId = ();
    // The text depends on the scope.
    const HAS_STATIC_QUERY_ID: bool = false;
}

type OriginSql = (
    Text,
    Nullable<BigInt>,
    Nullable<Uuid>,
    Nullable<Timestamptz>,
    Array<Text>,
);
/// What an as-of query selects.
pub type AsOfSql<ST> = (OriginSql, DecodedSql<ST>);

impl<M, K, T> Query for AsOfRow<M, K, T>
where
    M: Audited + Selectable<Pg>,
    AsOf<M>: Selectable<Pg>,
{
    // Through a selection of its own, so that `.get_result(conn)` infers `AsOf<M>`.
    type SqlType = AsSelect<AsOf<M>, Pg>;
}

impl<M, K, T, Conn> RunQueryDsl<Conn> for AsOfRow<M, K, T> {}

/// The selection of an [`AsOf`]; only its type matters.
#[derive(Debug)]
pub struct AsOfSelection<M>(PhantomData<fn() -> M>);

impl<M: 'static> QueryId for AsOfSelection<M> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<M: Selectable<Pg>> Expression for AsOfSelection<M>
where
    AsOfSql<<M::SelectExpression as Expression>::SqlType>: TypedExpressionType,
{
    type SqlType = AsOfSql<<M::SelectExpression as Expression>::SqlType>;
}

impl<M> Selectable<Pg> for AsOf<M>
where
    M: Audited + Selectable<Pg>,
    AsOfSelection<M>: Expression,
{
    type SelectExpression = AsOfSelection<M>;

    fn construct_selection() -> Self::SelectExpression {
        AsOfSelection(PhantomData)
    }
}

impl<M, K, T> QueryFragment<Pg> for AsOfRow<M, K, T>
where
    M: Audited + Selectable<Pg>,
    M::SelectExpression: QueryFragment<Pg>,
    K: QueryFragment<Pg>,
    T: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        push_outcome::<M>(&mut out)?;
        out.push_sql(" FROM threadline_as_of(");
        push_asked_of::<M>(self.scope.as_ref(), &mut out);
        out.push_sql(", ");
        self.push_key(&mut out)?;
        out.push_sql(", ");
        self.push_moment(&mut out)?;
        out.push_sql(match self.hidden_by() {
            None => ") AS tl_a",
            Some(_) => ") AS tl_f",
        });
        if let Some(scope) = self.hidden_by() {
            push_visible::<M>(
                scope,
                &mut out,
                |out| self.push_key(out),
                |out| self.push_moment(out),
            )?;
        }
        push_found::<M>(&mut out)
    }
}

impl<M, K, T> AsOfRow<M, K, T>
where
    M: Audited,
    K: QueryFragment<Pg>,
    T: QueryFragment<Pg>,
{
    fn push_key<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("jsonb_build_object(");
        self.key.walk_ast(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }

    fn push_moment<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("CAST(");
        self.moment.walk_ast(out.reborrow())?;
        out.push_sql(" AS timestamptz)");
        Ok(())
    }

    fn hidden_by(&self) -> Option<&Scope> {
        restricting(&self.scope)
    }
}

/// A scope that hides something.
pub(super) fn restricting(scope: &Option<Scope>) -> Option<&Scope> {
    scope.as_ref().filter(|scope| !scope.is_unscoped())
}

/// The answer `tl_a`: `tl_f` if its row is in scope, and otherwise that for a row which never was. So is the answer where no
/// change tells of the row, since a later one might.
pub(super) fn push_visible<'b, M: Audited>(
    scope: &'b Scope,
    out: &mut AstPass<'_, 'b, Pg>,
    push_key: impl FnOnce(&mut AstPass<'_, 'b, Pg>) -> QueryResult<()>,
    push_moment: impl FnOnce(&mut AstPass<'_, 'b, Pg>) -> QueryResult<()>,
) -> QueryResult<()> {
    out.push_sql(
        " CROSS JOIN LATERAL (SELECT tl_f.outcome, tl_f.change, threadline_judged_v1(tl_f.change, ",
    );
    push_relation::<M>(out);
    out.push_sql(", ");
    push_key(out)?;
    out.push_sql(
        ") AS judged OFFSET 0) AS tl_j CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM (SELECT (tl_j.judged).*) AS tl_c \
         WHERE tl_c.id IS NOT NULL",
    );
    scope.push(out, "tl_c", Judged::Row)?;
    out.push_sql(") AS visible OFFSET 0) AS tl_v CROSS JOIN LATERAL (SELECT CASE WHEN tl_v.visible THEN tl_j.outcome ELSE threadline_never_v1(");
    push_relation::<M>(out);
    out.push_sql(", ");
    push_moment(out)?;
    out.push_sql(
        ") END AS outcome, CASE WHEN tl_v.visible THEN tl_j.change END AS change) AS tl_a",
    );
    Ok(())
}

/// `SELECT` what an [`AsOf`] is built of.
pub(super) fn push_outcome<M>(out: &mut AstPass<'_, '_, Pg>) -> QueryResult<()>
where
    M: Audited + Selectable<Pg>,
    M::SelectExpression: QueryFragment<Pg>,
{
    out.push_sql(
        "SELECT tl_a.outcome, (tl_a.change).id, (tl_a.change).transaction_id, (tl_a.change).captured_at, \
         tl_r.redacted, tl_r.problem, tl_a.outcome = 'found', tl_r.absent, ",
    );
    push_selection::<M>(out, &M::construct_selection())
}

/// Joins the row to its outcome.
pub(super) fn push_found<M: Audited>(out: &mut AstPass<'_, '_, Pg>) -> QueryResult<()> {
    push_decoded::<M>(
        out,
        "CASE WHEN tl_a.outcome = 'found' THEN threadline_whole(tl_a.change) END",
    )
}

type OriginRow = (
    String,
    Option<i64>,
    Option<uuid::Uuid>,
    Option<DateTime<Utc>>,
    Vec<String>,
);

impl<M, ST> Queryable<AsOfSql<ST>, Pg> for AsOf<M>
where
    (OriginRow, Decoded<M>): FromStaticSqlRow<AsOfSql<ST>, Pg>,
{
    type Row = (OriginRow, Decoded<M>);

    fn build((origin, decoded): Self::Row) -> deserialize::Result<Self> {
        let (outcome, change_id, transaction_id, captured_at, redacted) = origin;
        let origin = match (change_id, transaction_id, captured_at) {
            (Some(change_id), Some(transaction_id), Some(captured_at)) => Some(Origin {
                change_id,
                transaction_id,
                captured_at,
            }),
            _ => None,
        };
        Ok(match (outcome.as_str(), origin, decoded.0) {
            ("found", Some(origin), Ok(Some(row))) => Self::Found {
                row,
                origin,
                redacted,
            },
            ("found", Some(origin), Err(problem)) => Self::Undecodable { problem, origin },
            ("deleted", Some(origin), _) => Self::Deleted(origin),
            ("not_yet_created", ..) => Self::NotYetCreated,
            ("unknown", ..) => Self::Unknown,
            (outcome, ..) => {
                return Err(format!("threadline_as_of answered {outcome} without a change").into());
            }
        })
    }
}
