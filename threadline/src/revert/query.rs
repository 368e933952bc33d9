//! Queries of plans.

use diesel::dsl::AsSelect;
use diesel::expression::ValidGrouping;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Json};

use super::plan::RevertPlan;
use super::subject::RevertSubject;
use crate::query::Change;

/// A query of exactly one [`RevertPlan`]; see [`revert_transaction_plan`].
#[derive(Debug, Clone, Copy)]
#[must_use = "queries do nothing until they are loaded"]
pub struct RevertPlanQuery {
    pub(super) subject: RevertSubject,
    /// Locks the live rows.
    pub(super) locked: bool,
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
    RevertPlanQuery {
        subject: RevertSubject::Transaction(transaction_id),
        locked: false,
    }
}

impl<M> Change<M> {
    /// What would undo this change alone; see [`revert_transaction_plan`]. A key change is two changes, of which this is
    /// one: revert its transaction instead.
    pub fn revert_plan(&self) -> RevertPlanQuery {
        RevertPlanQuery {
            subject: RevertSubject::Change(self.id),
            locked: false,
        }
    }
}

// Its SQL depends on its values: no prepared statement is kept for its type.
impl QueryId for RevertPlanQuery {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// The selection of a [`RevertPlan`]; only its type matters.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct RevertSelection;

impl Expression for RevertSelection {
    type SqlType = Json;
}

impl ValidGrouping<()> for RevertSelection {
    type IsAggregate = diesel::expression::is_aggregate::No;
}

impl Selectable<Pg> for RevertPlan {
    type SelectExpression = RevertSelection;

    fn construct_selection() -> RevertSelection {
        RevertSelection
    }
}

impl Query for RevertPlanQuery {
    // Through a selection of its own, so that `.get_result(conn)` infers the type.
    type SqlType = AsSelect<RevertPlan, Pg>;
}

impl<Conn> RunQueryDsl<Conn> for RevertPlanQuery {}

impl QueryFragment<Pg> for RevertPlanQuery {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let (transaction, change) = match &self.subject {
            RevertSubject::Transaction(id) => (Some(id), None),
            RevertSubject::Change(id) => (None, Some(id)),
        };
        out.push_sql("SELECT threadline_revert(");
        match transaction {
            Some(id) => out.push_bind_param::<diesel::sql_types::Uuid, _>(id)?,
            None => out.push_sql("NULL"),
        }
        out.push_sql(", ");
        match change {
            Some(id) => out.push_bind_param::<BigInt, _>(id)?,
            None => out.push_sql("NULL"),
        }
        out.push_sql(", ");
        out.push_sql(if self.locked { "true" } else { "false" });
        out.push_sql(")");
        Ok(())
    }
}
