//! The changes of one transaction, page by page.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use uuid::Uuid;

use super::bundle::push_existing;
use super::id::transaction_id;
use crate::query::entry::AuditChange;
use crate::query::list::{List, Listing};
use crate::query::page::Page;
use crate::query::scope::Scope;
use crate::query::timeline::TimelineFilter;
use crate::query::walk::Walk;

/// The changes of the transaction with this id, newest first by `(captured_at, id)`: a query of one page, 50 entries unless
/// told otherwise. [`incident_bundle`](super::incident_bundle) has them all.
///
/// An id is a UUID or a text. For one that is malformed, unknown or out of scope the query's error is
/// [`NotFound`](diesel::result::Error::NotFound).
///
/// ```
/// use diesel::{connection::LoadConnection, pg::Pg, prelude::*};
///
/// fn did_it_write(conn: &mut impl LoadConnection<Backend = Pg>, id: &str) -> QueryResult<bool> {
///     match threadline::audit_changes_for_transaction(id).get_result(conn).optional()? {
///         Some(page) => Ok(!page.entries.is_empty()),
///         None => Ok(false),
///     }
/// }
/// ```
pub fn audit_changes_for_transaction(id: impl std::fmt::Display) -> List<TransactionChanges> {
    let id = transaction_id(id);
    let filter = TimelineFilter::new().transaction(id.unwrap_or_default());
    List::new(TransactionChanges { id, filter })
}

/// What [`audit_changes_for_transaction`] lists.
#[derive(Debug, Clone)]
pub struct TransactionChanges {
    id: Option<Uuid>,
    filter: TimelineFilter,
}

impl Listing for TransactionChanges {
    type Answer = Page<AuditChange>;

    fn push<'b>(
        &'b self,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        fingerprint: u64,
        mut out: AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql("SELECT ");
        self.filter.push_page(walk, scope, fingerprint, &mut out)?;
        push_existing(&self.id, scope, &mut out)
    }
}
