//! Reading and setting the context of the open transaction, each in one round trip.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Text;

use super::settings::{NAMES, Settings};

/// Loads the [`Settings`] in force.
#[derive(Debug, Clone, Copy, QueryId)]
pub(super) struct CurrentSettings;

impl QueryFragment<Pg> for CurrentSettings {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (index, name) in NAMES.into_iter().enumerate() {
            out.push_sql(if index == 0 { "SELECT " } else { ", " });
            // NULL until the session has set it for the first time, '' from then on.
            out.push_sql("coalesce(current_setting('");
            out.push_sql(name);
            out.push_sql("', true), '')");
        }
        Ok(())
    }
}

impl Query for CurrentSettings {
    type SqlType = (Text, Text, Text, Text, Text, Text);
}

impl<C> diesel::RunQueryDsl<C> for CurrentSettings {}

/// Puts [`Settings`] in force until the transaction ends or rolls back to before it.
#[derive(Debug, Clone, QueryId)]
pub(super) struct SetLocal(pub(super) Settings);

impl QueryFragment<Pg> for SetLocal {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (index, (name, value)) in NAMES.into_iter().zip(self.0.values()).enumerate() {
            out.push_sql(if index == 0 { "SELECT " } else { ", " });
            out.push_sql("set_config('");
            out.push_sql(name);
            out.push_sql("', ");
            out.push_bind_param::<Text, _>(value)?;
            out.push_sql(", true)");
        }
        Ok(())
    }
}

impl<C> diesel::RunQueryDsl<C> for SetLocal {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use diesel::debug_query;

    use super::*;
    use crate::record::{ActorRef, AuditContext};

    #[test]
    fn all_settings_are_set_by_one_statement_for_the_transaction_only() {
        let context = AuditContext::new(ActorRef::user(42).unwrap())
            .source("billing")
            .request_id("r")
            .correlation_id("c")
            .job_id("j")
            .metadata("k", 1);
        let query = SetLocal(Settings::try_from(&context).unwrap());
        assert_eq!(
            debug_query::<Pg, _>(&query).to_string(),
            "SELECT set_config('threadline.actor_ref', $1, true), \
             set_config('threadline.source', $2, true), \
             set_config('threadline.request_id', $3, true), \
             set_config('threadline.correlation_id', $4, true), \
             set_config('threadline.job_id', $5, true), \
             set_config('threadline.meta', $6, true) \
             -- binds: [\"{\\\"id\\\":\\\"42\\\",\\\"type\\\":\\\"user\\\"}\", \
             \"billing\", \"r\", \"c\", \"j\", \"{\\\"k\\\":1}\"]"
        );
    }

    #[test]
    fn settings_are_read_in_the_order_in_which_they_are_set() {
        assert_eq!(
            debug_query::<Pg, _>(&CurrentSettings).to_string(),
            "SELECT coalesce(current_setting('threadline.actor_ref', true), ''), \
             coalesce(current_setting('threadline.source', true), ''), \
             coalesce(current_setting('threadline.request_id', true), ''), \
             coalesce(current_setting('threadline.correlation_id', true), ''), \
             coalesce(current_setting('threadline.job_id', true), ''), \
             coalesce(current_setting('threadline.meta', true), '') -- binds: []"
        );
    }
}
