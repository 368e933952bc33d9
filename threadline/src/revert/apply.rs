//! Applying a plan on a blocking connection.

use diesel::RunQueryDsl;
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use uuid::Uuid;

use super::error::RevertError;
use super::plan::RevertPlan;
use super::query::RevertPlanQuery;
use super::statement::threadline_run_v1;
use super::subject::{REVERT_ACTION, RevertSubject};
use crate::record::{Action, AuditContext, record_action, transaction};

/// A revert that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reverted {
    /// The action that says so: its name is [`REVERT_ACTION`], its reason the [`RevertSubject`].
    pub action_id: Uuid,
    /// How many rows were written.
    pub rows: usize,
}

impl RevertPlan {
    /// Applies the plan inside [`transaction`](crate::transaction()), with an action that points back to what is reverted, in
    /// its reason and in the transaction's metadata (`reverts`). All of it happens, or nothing.
    ///
    /// The rows are locked first, and the plan is made again: a conflict that has come up since it was previewed stops it,
    /// and so does any difference in its statements.
    ///
    /// All statements are sent at once, so the number of round trips doesn't depend on that of the rows: one more for every
    /// 64 MB of values.
    ///
    /// # Errors
    ///
    /// [`RevertError`]: undecided conflicts by name, a plan that is stale or empty, a statement that missed a row, and
    /// errors of the database.
    pub fn apply<C>(&self, conn: &mut C, context: &AuditContext) -> Result<Reverted, RevertError>
    where
        C: LoadConnection<Backend = Pg>,
    {
        self.check()?;
        transaction(conn, &self.context(context), |conn| {
            let plan = self.renewed(self.locked().get_result(conn)?)?;
            for batch in plan.batches() {
                let run = diesel::select(threadline_run_v1(&batch.sql));
                batch.check(&run.get_result::<Vec<i64>>(conn)?)?;
            }
            Ok(Reverted {
                action_id: record_action(self.action()).get_result(conn)?,
                rows: plan.steps().len(),
            })
        })
    }

    pub(super) fn locked(&self) -> RevertPlanQuery {
        RevertPlanQuery {
            subject: self.subject(),
            locked: true,
            scope: Some(self.scope_again()),
        }
    }

    pub(super) fn context(&self, context: &AuditContext) -> AuditContext {
        let reverts = match self.subject() {
            RevertSubject::Transaction(id) => serde_json::json!({"transaction_id": id}),
            RevertSubject::Change(id) => serde_json::json!({"change_id": id}),
        };
        context.clone().metadata("reverts", reverts)
    }

    pub(super) fn action(&self) -> Action {
        Action::new(REVERT_ACTION)
            .verb("revert")
            .reason(self.subject().to_string())
            .require_changes()
    }
}
