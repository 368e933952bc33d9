//! What happened, across tables.

mod actor;
mod error;
mod filter;
mod key;
mod row;
mod source;
mod table;
mod text;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;

use super::entry::{AuditChange, CHANGE};
use super::list::{List, Listing};
use super::page::Page;
use super::push::{push_optional_text, push_text};
use super::scope::{Scope, push_asked, query_error};
use super::walk::{Side, Walk};
use crate::record::ActorRef;
pub use error::FilterError;
pub use filter::TimelineFilter;
pub(super) use source::push_tied;

/// Changes of any table that meet a filter, newest first by `(captured_at, id)`: a query of one page, 50 entries unless
/// told otherwise.
///
/// # Cost
///
/// One filter leads to the changes, the first of these that is given; the others are looked at one change at a time.
///
/// | filter | what a page takes |
/// |---|---|
/// | `transaction`, `correlation_id`, `request_id` | all changes of the transactions are sorted |
/// | `key` | the row's entries in the index are sorted, and only the page is looked at: some 10 ms for 25,000 of them |
/// | `actor` | all changes of the actor's transactions are sorted, or the page is met on a walk along the log, where a look some way along it shows that this is shorter |
/// | `table`, `schema`, none | the page is met on a walk along the log |
///
/// A walk passes over what doesn't match. `op` and `changed_field` have no index of their own, since each would make every
/// captured change dearer: where none or few match, all of the log, of the table, or of the time between `from` and `to` is
/// looked at, some 0.1 s for 1,000,000 changes. Optional indexes serve them. That of operations costs only the writes of those
/// that it names; that of fields costs each captured UPDATE about a tenth of what its line takes.
///
/// ```sql
/// CREATE INDEX CONCURRENTLY audit_changes_op ON audit_changes (op, captured_at, id) WHERE op IN ('delete', 'truncate');
/// CREATE INDEX CONCURRENTLY audit_changes_fields ON audit_changes USING gin (changed_fields);
/// ```
///
/// # Examples
///
/// ```
/// use diesel::{connection::LoadConnection, pg::Pg, prelude::*};
/// use threadline::{TimelineFilter, timeline};
///
/// fn latest(conn: &mut impl LoadConnection<Backend = Pg>) -> Result<(), Box<dyn std::error::Error>> {
///     let filter = TimelineFilter::from_pairs([("table", "users"), ("changed_field", "email")])?;
///     let page = timeline(filter).limit(20)?.get_result(conn)?;
///     for change in &page.entries {
///         println!("{} {} {:?} {:?}", change.captured_at, change.op, change.key, change.actor());
///     }
///     println!("more: {}", page.has_more);
///     Ok(())
/// }
/// ```
pub fn timeline(filter: TimelineFilter) -> List<Timeline> {
    List::new(Timeline(filter))
}

/// Changes of an actor's transactions; [`timeline`] with this actor.
///
/// ```
/// use threadline::{ActorRef, actor_timeline};
///
/// let job = actor_timeline(ActorRef::job("nightly-invoices")?);
/// # Ok::<_, threadline::ActorError>(())
/// ```
pub fn actor_timeline(actor: ActorRef) -> List<Timeline> {
    timeline(TimelineFilter::new().actor(actor))
}

/// What [`timeline`] lists.
#[derive(Debug, Clone)]
pub struct Timeline(TimelineFilter);

impl Listing for Timeline {
    type Answer = Page<AuditChange>;

    fn push<'b>(
        &'b self,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        fingerprint: u64,
        mut out: AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql("SELECT ");
        self.0.push_page(walk, scope, fingerprint, &mut out)?;
        out.push_sql(" WHERE ");
        self.0.push_asked(scope, &mut out)
    }
}

impl TimelineFilter {
    /// The columns of a [`Page`] of changes.
    pub(super) fn push_page<'b>(
        &'b self,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        fingerprint: u64,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        self.check().map_err(query_error)?;
        out.push_sql("ARRAY(SELECT ");
        out.push_sql(CHANGE);
        out.push_sql(" FROM (SELECT tl_c.* FROM ");
        self.push_changes(walk, scope, Side::Ahead, out)?;
        walk.push_order(out, Side::Ahead, &source::PLACE);
        walk.push_limit(out, Side::Ahead);
        out.push_sql(") AS tl_p");
        walk.push_order(out, Side::Ahead, &source::ON_PAGE);
        out.push_sql("), ");
        if walk.cursor().is_some() {
            out.push_sql("EXISTS (SELECT FROM ");
            self.push_changes(walk, scope, Side::Behind, out)?;
            out.push_sql(")");
        } else {
            out.push_sql("false");
        }
        out.push_sql(", ");
        walk.push_facts(out, fingerprint)
    }

    /// True, or an error: if a scope is asked for, if no table is audited under this name, or if none has the field.
    pub(super) fn push_asked<'b>(
        &'b self,
        scope: &Option<Scope>,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        // In this order: a read that is refused must not depend on anything else.
        out.push_sql("CASE WHEN ");
        let (schema, table) = self.place();
        push_asked(scope, out, schema, table)?;
        out.push_sql(" THEN ");
        if let Some(field) = &self.changed_field {
            out.push_sql("threadline_check_field_v1(");
            push_optional_text(out, schema)?;
            out.push_sql(", ");
            push_optional_text(out, table)?;
            out.push_sql(", ");
            push_text(out, field)?;
            out.push_sql(")");
        } else if self.table.is_some() || self.schema.is_some() {
            out.push_sql("EXISTS (SELECT ");
            self.push_tables(out)?;
            out.push_sql(")");
        } else {
            out.push_sql("true");
        }
        out.push_sql(" END");
        Ok(())
    }
}
