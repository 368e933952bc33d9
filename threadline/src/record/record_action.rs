//! The query that records an action.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Bool, Jsonb, Nullable, Text, Uuid};

use super::action::Action;

/// The query that [`record_action`] returns.
#[derive(Debug, Clone, QueryId)]
#[must_use = "a query does nothing until it is executed, for example by `get_result`"]
pub struct RecordAction(Action);

/// Records an [`Action`] and gives its id, as a `Uuid`.
///
/// ```no_run
/// use diesel::connection::LoadConnection;
/// use diesel::pg::Pg;
/// use diesel::prelude::*;
/// use threadline::{Action, AuditContext, record_action};
/// use uuid::Uuid;
///
/// fn refund(
///     conn: &mut impl LoadConnection<Backend = Pg>,
///     context: &AuditContext,
/// ) -> QueryResult<Uuid> {
///     threadline::transaction(conn, context, |conn| {
///         // … the writes, before or after …
///         record_action(Action::new("invoice.refunded").reason("duplicate_charge"))
///             .get_result(conn)
///     })
/// }
/// ```
///
/// # Errors
///
/// Executing it fails if the database finds the action invalid, and says which part is.
pub const fn record_action(action: Action) -> RecordAction {
    RecordAction(action)
}

impl QueryFragment<Pg> for RecordAction {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Action {
            name,
            actor,
            status,
            verb,
            category,
            reason,
            comment,
            correlation_id,
            request_id,
            job_id,
            require_changes,
        } = &self.0;
        out.push_sql("SELECT threadline_record_action_v1(");
        out.push_bind_param::<Text, _>(name)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<Jsonb>, _>(actor)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(status)?;
        for text in [
            verb,
            category,
            reason,
            comment,
            correlation_id,
            request_id,
            job_id,
        ] {
            out.push_sql(", ");
            out.push_bind_param::<Nullable<Text>, _>(text)?;
        }
        out.push_sql(", ");
        out.push_bind_param::<Bool, _>(require_changes)?;
        out.push_sql(")");
        Ok(())
    }
}

impl Query for RecordAction {
    type SqlType = Uuid;
}

impl<C> diesel::RunQueryDsl<C> for RecordAction {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::record::{ActionStatus, ActorRef};

    const CALL: &str = "SELECT threadline_record_action_v1(\
                        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

    #[test]
    fn what_is_left_out_is_null() {
        let query = record_action(Action::new("invoice.refunded"));
        assert_eq!(
            diesel::debug_query::<Pg, _>(&query).to_string(),
            format!(
                "{CALL} -- binds: [\"invoice.refunded\", None, Ok, None, None, None, None, None, \
                 None, None, false]"
            )
        );
    }

    #[test]
    fn each_part_stands_at_its_place() {
        let query = record_action(
            Action::new("n")
                .actor(ActorRef::anonymous())
                .status(ActionStatus::Error)
                .verb("v")
                .category("ca")
                .reason("r")
                .comment("co")
                .correlation_id("ci")
                .request_id("ri")
                .job_id("ji")
                .require_changes(),
        );
        assert_eq!(
            diesel::debug_query::<Pg, _>(&query).to_string(),
            format!(
                "{CALL} -- binds: [\"n\", Some(ActorRef {{ kind: Anonymous, id: None }}), Error, \
                 Some(\"v\"), Some(\"ca\"), Some(\"r\"), Some(\"co\"), Some(\"ci\"), \
                 Some(\"ri\"), Some(\"ji\"), true]"
            )
        );
    }
}
