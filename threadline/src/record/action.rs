//! Semantic events: what the application meant by its writes.

use super::action_status::ActionStatus;
use super::actor::ActorRef;

/// A semantic event: who did what, how it turned out, and why.
///
/// Inside an audited transaction it takes the actor and the identifiers that it doesn't
/// name from the [`AuditContext`](super::AuditContext), and it is linked to the changes
/// of the transaction, those before it and those after it. An action of a transaction
/// that changes nothing is kept too, unless it asks for changes.
///
/// A name has 1 to 255 characters. Other texts are cut where they exceed what the audit
/// tables keep of them: 4,096 characters of a reason, 65,536 of a comment, 255 of the rest.
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
    pub(super) name: String,
    pub(super) actor: Option<ActorRef>,
    pub(super) status: ActionStatus,
    pub(super) verb: Option<String>,
    pub(super) category: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) job_id: Option<String>,
    pub(super) require_changes: bool,
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
