//! Queries of plans.

use diesel::dsl::AsSelect;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Json, Uuid as SqlUuid};

use super::plan::RevertPlan;
use super::subject::RevertSubject;
use crate::query::{AnswerRow, Change, Scope, push_asked, push_scope, selectable};

/// A query of exactly one [`RevertPlan`]; see [`revert_transaction_plan`].
#[derive(Debug, Clone)]
#[must_use = "queries do nothing until they are loaded"]
pub struct RevertPlanQuery {
    pub(super) subject: RevertSubject,
    /// Locks the live rows.
    pub(super) locked: bool,
    pub(super) scope: Option<Scope>,
}

impl RevertPlanQuery {
    fn new(subject: RevertSubject) -> Self {
        Self {
            subject,
            locked: false,
            scope: None,
        }
    }

    /// What may be seen and written: rows of which every change that is reverted is in scope, and which are in scope now and
    /// would be after the revert. The plan has no others, and is empty if there are none, as for a transaction that never
    /// was.
    ///
    /// Conflicts name the rows in the way by their number, their table or their key constraint; the key of one that holds a
    /// unique key is told only if the plan writes that row too.
    ///
    /// Such a plan is applied with the scope once more; see [`RevertPlan::scope`].
    ///
    /// # Examples
    ///
    /// ```
    /// use diesel::connection::LoadConnection;
    /// use diesel::{pg::Pg, prelude::*};
    /// use threadline::{ActorRef, AuditContext, Scope, revert_transaction_plan};
    ///
    /// fn undo(
    ///     conn: &mut impl LoadConnection<Backend = Pg>,
    ///     transaction: uuid::Uuid,
    ///     tenant: i64,
    /// ) -> Result<(), Box<dyn std::error::Error>> {
    ///     let scope = Scope::field("tenant_id", tenant);
    ///     let plan = revert_transaction_plan(transaction)
    ///         .scope(scope.clone())
    ///         .get_result(conn)?;
    ///     let context = AuditContext::new(ActorRef::admin("ops-3")?);
    ///     plan.scope(scope).apply(conn, &context)?;
    ///     Ok(())
    /// }
    /// ```
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Everything may be seen and written, on purpose; see [`Scope::unscoped`].
    ///
    /// ```
    /// use threadline::revert_transaction_plan;
    ///
    /// let query = revert_transaction_plan(uuid::Uuid::nil()).unscoped();
    /// ```
    pub fn unscoped(self) -> Self {
        self.scope(Scope::unscoped())
    }

    /// The call of `threadline_revert`, of the changes in a scope if there is one.
    fn push_revert<'b>(
        &'b self,
        out: &mut AstPass<'_, 'b, Pg>,
        is_within: bool,
    ) -> QueryResult<()> {
        out.push_sql("threadline_revert(");
        match &self.subject {
            RevertSubject::Transaction(id) => {
                out.push_bind_param::<SqlUuid, _>(id)?;
                out.push_sql(", NULL");
            }
            RevertSubject::Change(id) => {
                out.push_sql("NULL, ");
                out.push_bind_param::<BigInt, _>(id)?;
            }
        }
        out.push_sql(if self.locked { ", true, " } else { ", false, " });
        if !is_within {
            out.push_sql("NULL)");
            return Ok(());
        }
        out.push_sql("ARRAY(SELECT tl_p.id FROM audit_changes AS tl_p WHERE ");
        match &self.subject {
            RevertSubject::Transaction(id) => {
                out.push_sql("tl_p.transaction_id = ");
                out.push_bind_param::<SqlUuid, _>(id)?;
            }
            RevertSubject::Change(id) => {
                out.push_sql("tl_p.id = ");
                out.push_bind_param::<BigInt, _>(id)?;
            }
        }
        push_scope(&self.scope, out, "tl_p")?;
        out.push_sql("))");
        Ok(())
    }
}

/// What would undo every change of a database transaction (`audit_transactions.id`). Nothing is written.
///
/// The caller needs to read the log, as members of `threadline_reader` may, and the tables that the transaction wrote to,
/// those included that refer to them. It takes a few lookups for each row; the plan is held in memory as a whole.
///
/// # Examples
///
/// ```
/// use diesel::connection::LoadConnection;
/// use diesel::{pg::Pg, prelude::*};
/// use threadline::{ActorRef, AuditContext, revert_transaction_plan};
///
/// fn undo(
///     conn: &mut impl LoadConnection<Backend = Pg>,
///     transaction: uuid::Uuid,
/// ) -> Result<(), Box<dyn std::error::Error>> {
///     let plan = revert_transaction_plan(transaction).get_result(conn)?;
///     println!("{}", plan.to_sql());
///     plan.apply(conn, &AuditContext::new(ActorRef::admin("ops-3")?))?;
///     Ok(())
/// }
/// ```
pub fn revert_transaction_plan(transaction_id: uuid::Uuid) -> RevertPlanQuery {
    RevertPlanQuery::new(RevertSubject::Transaction(transaction_id))
}

impl<M> Change<M> {
    /// What would undo this change alone; see [`revert_transaction_plan`]. A key change is two changes, of which this is
    /// one: revert its transaction instead.
    pub fn revert_plan(&self) -> RevertPlanQuery {
        RevertPlanQuery::new(RevertSubject::Change(self.id))
    }
}

// Its SQL depends on its values: no prepared statement is kept for its type.
impl QueryId for RevertPlanQuery {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl AnswerRow for RevertPlan {
    type Sql = Json;
}

selectable!(RevertPlan);

impl Query for RevertPlanQuery {
    // Through a selection of its own, so that `.get_result(conn)` infers the type.
    type SqlType = AsSelect<RevertPlan, Pg>;
}

impl<Conn> RunQueryDsl<Conn> for RevertPlanQuery {}

impl QueryFragment<Pg> for RevertPlanQuery {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if Scope::restricting(&self.scope).is_none() {
            out.push_sql("SELECT CASE WHEN ");
            push_asked(&self.scope, &mut out, None, None)?;
            out.push_sql(" THEN ");
            self.push_revert(&mut out, false)?;
            out.push_sql(" END");
            return Ok(());
        }
        // What is judged comes with the rows, which are locked by then.
        out.push_sql(
            "SELECT threadline_revert_within_v1(tl_d.revert, ARRAY(SELECT tl_j.place FROM threadline_revert_judged_v1(tl_d.revert) AS tl_j \
             CROSS JOIN LATERAL (SELECT (tl_j.change).*) AS tl_c GROUP BY tl_j.place HAVING bool_and((true",
        );
        push_scope(&self.scope, &mut out, "tl_c")?;
        out.push_sql(") IS TRUE))) FROM (SELECT ");
        self.push_revert(&mut out, true)?;
        out.push_sql(" AS revert OFFSET 0) AS tl_d");
        Ok(())
    }
}
