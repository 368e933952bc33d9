//! Which changes a timeline shows.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::key::FilterKey;
use super::table::FilterTable;
use crate::query::op::Op;
use crate::record::ActorRef;

/// Which changes a timeline shows: those that meet everything that is given; all of them if nothing is.
///
/// It is built in code or [parsed from texts](Self::from_pairs), with the same result.
///
/// # Examples
///
/// ```
/// use threadline::{ActorRef, Op, TimelineFilter};
///
/// let built = TimelineFilter::new()
///     .table("users")
///     .actor(ActorRef::user("42")?)
///     .op(Op::Update)
///     .from("2026-03-15T10:00:00Z".parse()?);
/// let parsed = TimelineFilter::from_pairs([
///     ("table", "users"),
///     ("actor", "user:42"),
///     ("op", "update"),
///     ("from", "2026-03-15T10:00:00Z"),
/// ])?;
/// assert_eq!(built, parsed);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "a filter shows nothing until a timeline is asked for"]
pub struct TimelineFilter {
    pub(super) table: Option<FilterTable>,
    pub(super) schema: Option<String>,
    pub(super) key: Option<FilterKey>,
    pub(super) actor: Option<ActorRef>,
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
    pub(in crate::query) correlation_id: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) op: Option<Op>,
    pub(super) changed_field: Option<String>,
    pub(super) transaction: Option<Uuid>,
}

impl TimelineFilter {
    /// Everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes of the tables that have this name now, or had it formerly if none has it now. An error of the query names
    /// the table if it isn't audited.
    ///
    /// `invoices` is a table of any schema, unless [`schema`](Self::schema) says which, and `billing.invoices` that of one
    /// schema. A part that has a dot itself is written in double quotes, `"my.table"`, in which `""` stands for one. Case
    /// counts, quoted or not.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = Some(FilterTable::new(name.into()));
        self
    }

    /// Changes of tables in this schema.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = Some(name.into());
        self
    }

    /// Changes of the row with this key, and a TRUNCATE that took it away; needs the [`table`](Self::table). One pair for
    /// each key column, the values as text.
    ///
    /// ```
    /// use threadline::TimelineFilter;
    ///
    /// let row = TimelineFilter::new().table("users").key([("id", 42)]);
    /// ```
    pub fn key<C, V>(mut self, columns: impl IntoIterator<Item = (C, V)>) -> Self
    where
        C: Into<String>,
        V: ToString,
    {
        self.key = Some(FilterKey::new(columns));
        self
    }

    /// Changes of transactions of this actor.
    pub fn actor(mut self, actor: ActorRef) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Changes that were captured at this moment or later, in microseconds.
    pub fn from(mut self, moment: DateTime<Utc>) -> Self {
        self.from = Some(moment);
        self
    }

    /// Changes that were captured at this moment or earlier, in microseconds.
    pub fn to(mut self, moment: DateTime<Utc>) -> Self {
        self.to = Some(moment);
        self
    }

    /// Changes of transactions with this correlation id, or with an action that has it.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Changes of transactions with this request id, or with an action that has it.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Changes by this operation.
    pub fn op(mut self, op: Op) -> Self {
        self.op = Some(op);
        self
    }

    /// Updates that changed this column. An error of the query names it if none of the tables has it or ever had it, as
    /// far as that is known: where columns came and went unnoticed, any name finds nothing instead.
    pub fn changed_field(mut self, column: impl Into<String>) -> Self {
        self.changed_field = Some(column.into());
        self
    }

    /// Changes of this transaction.
    pub fn transaction(mut self, id: Uuid) -> Self {
        self.transaction = Some(id);
        self
    }
}
