//! Lists: queries of one page each.

use std::fmt;

use diesel::dsl::AsSelect;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

use super::page::{Cursor, DEFAULT_LIMIT, MAX_LIMIT, PageError, fingerprint};
use super::scope::{Scope, query_error};
use super::walk::Walk;

/// A list, asked for one page of 50 entries, unless told otherwise. A query of exactly one row: load it with
/// `.get_result(conn)`, with Diesel or diesel-async.
///
/// # Examples
///
/// ```
/// use diesel::{connection::LoadConnection, pg::Pg, prelude::*};
/// use threadline::{AuditChange, TimelineFilter, timeline};
///
/// /// Every change of a table, page by page.
/// fn all(conn: &mut impl LoadConnection<Backend = Pg>) -> Result<Vec<AuditChange>, Box<dyn std::error::Error>> {
///     let users = timeline(TimelineFilter::new().table("users")).limit(500)?;
///     let mut page = users.clone().get_result(conn)?;
///     let mut changes = page.entries;
///     while let Some(cursor) = page.cursor {
///         page = users.clone().at(&cursor)?.get_result(conn)?;
///         changes.extend(page.entries);
///     }
///     Ok(changes)
/// }
/// ```
#[derive(Clone)]
#[must_use = "queries do nothing until they are loaded"]
pub struct List<L> {
    listing: L,
    walk: Walk,
    scope: Option<Scope>,
}

/// What a [`List`] lists.
pub trait Listing: fmt::Debug {
    /// What a page of it is.
    type Answer;

    /// The query of a page.
    ///
    /// # Errors
    ///
    /// What the list can't be asked for.
    fn push<'b>(
        &'b self,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        fingerprint: u64,
        out: AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()>;
}

impl<L: Listing> List<L> {
    pub(super) fn new(listing: L) -> Self {
        Self {
            listing,
            walk: Walk::new(DEFAULT_LIMIT),
            scope: None,
        }
    }

    /// At most so many entries.
    ///
    /// # Errors
    ///
    /// [`PageError`] unless it is 1 to 1000.
    pub fn limit(mut self, entries: i64) -> Result<Self, PageError> {
        match entries {
            ..1 => Err(PageError::LimitTooSmall { limit: entries }),
            1..=MAX_LIMIT => {
                self.walk.limit = entries;
                Ok(self)
            }
            _ => Err(PageError::LimitTooLarge { limit: entries }),
        }
    }

    /// The oldest entry first, instead of the newest.
    pub fn oldest_first(mut self) -> Self {
        self.walk.oldest_first = true;
        self
    }

    /// What may be seen.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Everything may be seen, on purpose; see [`Scope::unscoped`].
    pub fn unscoped(self) -> Self {
        self.scope(Scope::unscoped())
    }

    /// The page that a cursor leads to. Give the order and the scope first.
    ///
    /// # Errors
    ///
    /// [`PageError::AnotherQuery`] if the cursor was given out by another list, filter, order or scope.
    pub fn at(mut self, cursor: &Cursor) -> Result<Self, PageError> {
        self.walk.go_to(cursor);
        self.check()?;
        Ok(self)
    }

    fn fingerprint(&self) -> u64 {
        // A list that was asked for without a scope may be followed by one that is unscoped.
        let scope = Scope::restricting(&self.scope);
        let order = self.walk.oldest_first;
        fingerprint(&format!("{:?} {order} {scope:?}", self.listing))
    }

    fn check(&self) -> Result<u64, PageError> {
        let fingerprint = self.fingerprint();
        match self.walk.cursor() {
            Some(cursor) if cursor.fingerprint != fingerprint => Err(PageError::AnotherQuery),
            _ => Ok(fingerprint),
        }
    }
}

impl<L: fmt::Debug> fmt::Debug for List<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List")
            .field("listing", &self.listing)
            .field("walk", &self.walk)
            .field("scope", &self.scope)
            .finish()
    }
}

impl<L> QueryId for List<L> {
    type QueryId = ();
    // The text depends on what is listed.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<L: Listing> Query for List<L>
where
    L::Answer: Selectable<Pg>,
    AsSelect<L::Answer, Pg>: Expression,
{
    // Through a selection of its own, so that `.get_result(conn)` infers the answer.
    type SqlType = AsSelect<L::Answer, Pg>;
}

impl<L, Conn> RunQueryDsl<Conn> for List<L> {}

impl<L: Listing> QueryFragment<Pg> for List<L> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Again, in case that the scope or the order came after the cursor.
        let fingerprint = self.check().map_err(query_error)?;
        self.listing.push(&self.walk, &self.scope, fingerprint, out)
    }
}
