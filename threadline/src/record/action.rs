//! Semantic events: what the application meant by its writes.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Bool, Jsonb, Nullable, Text, Uuid};

use super::action_status::ActionStatus;
use super::actor::ActorRef;

/// A semantic event: who did what, how it turned out, and why.
///
/// Inside an audited transaction it takes the actor and the identifiers that it doesn't
/// name from the [`AuditContext`](super::AuditContext), and it is linked to the changes
/// of the transaction, those before it and those after it. An action of a transaction
/// that changes nothing is kept too, unless it asks for changes.
///
/// ```
/// use threadline::{Action, ActionStatus};
///
/// let refused = Action::new("invoice.refunded")
///     .status(ActionStatus::Error)
///     .reason("period_closed")
///     .comment("The customer was told to ask accounting");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an action is recorded by executing `record_action`"]
pub struct Action {
    name: String,
    actor: Option<ActorRef>,
    status: ActionStatus,
    verb: Option<String>,
    category: Option<String>,
    reason: Option<String>,
    comment: Option<String>,
    correlation_id: Option<String>,
    request_id: Option<String>,
    job_id: Option<String>,
    require_changes: bool,
}

impl Action {
    /// An action that was done, by the actor of the transaction.
    ///
    /// Names are for searching: pick few, stable ones, such as `invoice.refunded`.
    ///
    /// ```
    /// let action = threadline::Action::new("invoice.refunded");
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            actor: None,
            status: ActionStatus::default(),
            verb: None,
            category: None,
            reason: None,
            comment: None,
            correlation_id: None,
            request_id: None,
            job_id: None,
            require_changes: false,
        }
    }

    /// Who acted, where it isn't the actor of the transaction.
    ///
    /// ```
    /// use threadline::{Action, ActorRef};
    ///
    /// let action = Action::new("invoice.approved").actor(ActorRef::admin("ops-3")?);
    /// # Ok::<_, threadline::ActorError>(())
    /// ```
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.actor = Some(actor);
        self
    }

    /// How it turned out; [`Ok`](ActionStatus::Ok) unless told otherwise.
    ///
    /// An action that is recorded in a transaction that rolls back is gone with it:
    /// record a failure after the rollback, in a transaction of its own.
    ///
    /// ```
    /// use threadline::{Action, ActionStatus};
    ///
    /// let action = Action::new("user.signed_in").status(ActionStatus::Error);
    /// ```
    pub fn status(mut self, status: ActionStatus) -> Self {
        self.status = status;
        self
    }

    /// What was done, apart from what it was done to, such as `refund`.
    ///
    /// ```
    /// let action = threadline::Action::new("invoice.refunded").verb("refund");
    /// ```
    pub fn verb(mut self, verb: impl Into<String>) -> Self {
        self.verb = Some(verb.into());
        self
    }

    /// A group of actions that are looked at together, such as `billing`.
    ///
    /// ```
    /// let action = threadline::Action::new("invoice.refunded").category("billing");
    /// ```
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.category = Some(category.into());
        self
    }

    /// Why, as a term to search for.
    ///
    /// ```
    /// let action = threadline::Action::new("invoice.refunded").reason("duplicate_charge");
    /// ```
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Why, in the words of whoever acted.
    ///
    /// ```
    /// let action = threadline::Action::new("invoice.refunded").comment("Charged twice, see #8812");
    /// ```
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// What ties it to other requests and services, where it isn't that of the context.
    ///
    /// ```
    /// let action = threadline::Action::new("invoice.refunded").correlation_id("checkout-19");
    /// ```
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// The request that caused it, where it isn't that of the context.
    ///
    /// ```
    /// let action = threadline::Action::new("invoice.refunded").request_id("req-7");
    /// ```
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// The job run that caused it, where it isn't that of the context.
    ///
    /// ```
    /// let action = threadline::Action::new("invoice.sent").job_id("8812");
    /// ```
    pub fn job_id(mut self, id: impl Into<String>) -> Self {
        self.job_id = Some(id.into());
        self
    }

    /// Insists on changes to be linked to: if the transaction has captured none by the
    /// time it commits, the commit fails and everything is rolled back.
    ///
    /// ```
    /// let action = threadline::Action::new("invoice.refunded").require_changes();
    /// ```
    pub fn require_changes(mut self) -> Self {
        self.require_changes = true;
        self
    }
}

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
