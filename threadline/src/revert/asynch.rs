//! Applying a plan on an asynchronous connection.

use std::future::Future;

use diesel::pg::Pg;
use diesel_async::{AsyncConnection, RunQueryDsl};

use super::apply::Reverted;
use super::error::RevertError;
use super::plan::RevertPlan;
use super::statement::threadline_run_v1;
use crate::record::{AuditContext, asynch, record_action};

impl RevertPlan {
    /// [`apply`](Self::apply) with diesel-async, inside [`asynch::transaction`](crate::asynch::transaction).
    ///
    /// # Errors
    ///
    /// As for [`apply`](Self::apply).
    pub fn apply_async<'c, C>(
        &'c self,
        conn: &'c mut C,
        context: &AuditContext,
    ) -> impl Future<Output = Result<Reverted, RevertError>> + Send + use<'c, C>
    where
        C: AsyncConnection<Backend = Pg>,
    {
        let context = self.context(context);
        async move {
            self.check()?;
            asynch::transaction(conn, &context, async |conn: &mut C| {
                let plan = self.renewed(self.locked().get_result(conn).await?)?;
                for batch in plan.batches() {
                    let run = diesel::select(threadline_run_v1(&batch.sql));
                    batch.check(&run.get_result::<Vec<i64>>(conn).await?)?;
                }
                Ok(Reverted {
                    action_id: record_action(self.action()).get_result(conn).await?,
                    rows: plan.steps().len(),
                })
            })
            .await
        }
    }
}
