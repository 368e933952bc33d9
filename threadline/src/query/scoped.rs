//! The typed reads, of what is in a scope.

use std::fmt;
use std::marker::PhantomData;

use diesel::QueryResult;
use diesel::dsl::{Desc, Order};
use diesel::expression::AsExpression;
use diesel::internal::table_macro::SelectStatement;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryId};
use diesel::query_dsl::methods::OrderDsl;
use diesel::sql_types::Timestamptz;

use super::as_of_rows::{AsOfKeys, AsOfRow, AsOfRows, ManyKeys, OneKey};
use super::columns;
use super::history::Changes;
use super::key::IntoKey;
use super::scope::Scope;
use super::source::{ChangeFilter, OfRow, OfTable, Source};
use crate::audited::Audited;

/// The reads of [`AuditedDsl`](crate::AuditedDsl), of what is in a scope. What is out of it looks exactly like what doesn't
/// exist.
#[must_use = "a scope shows nothing until something is read"]
pub struct Reads<M> {
    scope: Scope,
    model: PhantomData<fn() -> M>,
}

/// What [`Reads::history`] returns.
pub type ScopedHistory<M, K> = Order<Changes<M, InScope<OfRow<K>>>, Desc<columns::id>>;

/// Those changes that are in a scope.
#[derive(Debug, Clone)]
pub struct InScope<F> {
    filter: F,
    scope: Scope,
}

impl<F> QueryId for InScope<F> {
    type QueryId = ();
    // The text depends on the scope.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<F: ChangeFilter> ChangeFilter for InScope<F> {
    const FUNCTION: &'static str = F::FUNCTION;

    fn push_arguments<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.filter.push_arguments(out)
    }

    fn scope(&self) -> Option<&Scope> {
        Some(&self.scope)
    }
}

impl<M> Reads<M> {
    pub(super) fn new(scope: Scope) -> Self {
        Self {
            scope,
            model: PhantomData,
        }
    }

    fn within<F>(self, filter: F) -> InScope<F> {
        InScope {
            filter,
            scope: self.scope,
        }
    }
}

impl<M: Audited + Selectable<Pg>> Reads<M> {
    /// As [`AuditedDsl::history`](crate::AuditedDsl::history).
    pub fn history<Id, Kind>(self, id: Id) -> ScopedHistory<M, Id::Expression>
    where
        Id: IntoKey<M::Key, Kind>,
        Source<M, InScope<OfRow<Id::Expression>>>: QuerySource,
        Changes<M, InScope<OfRow<Id::Expression>>>: OrderDsl<Desc<columns::id>>,
    {
        OrderDsl::order(self.changes_of(id), columns::id.desc())
    }

    /// As [`AuditedDsl::changes_of`](crate::AuditedDsl::changes_of).
    pub fn changes_of<Id, Kind>(self, id: Id) -> Changes<M, InScope<OfRow<Id::Expression>>>
    where
        Id: IntoKey<M::Key, Kind>,
        Source<M, InScope<OfRow<Id::Expression>>>: QuerySource,
    {
        SelectStatement::simple(Source::new(self.within(OfRow(id.into_key()))))
    }

    /// As [`AuditedDsl::changes`](crate::AuditedDsl::changes).
    pub fn changes(self) -> Changes<M, InScope<OfTable>>
    where
        Source<M, InScope<OfTable>>: QuerySource,
    {
        SelectStatement::simple(Source::new(self.within(OfTable)))
    }

    /// As [`AuditedDsl::as_of`](crate::AuditedDsl::as_of), if the row was in scope at that moment. Whether it had not been
    /// created yet is told from the table's horizon on: before it, the answer is *unknown*.
    pub fn as_of<Id, Kind, T>(self, id: Id, moment: T) -> AsOfRow<M, Id::Expression, T::Expression>
    where
        Id: IntoKey<M::Key, Kind>,
        T: AsExpression<Timestamptz>,
    {
        AsOfKeys::new(
            OneKey(id.into_key()),
            moment.as_expression(),
            Some(self.scope),
        )
    }

    /// As [`AuditedDsl::as_of_many`](crate::AuditedDsl::as_of_many): for each id what [`as_of`](Self::as_of) answers.
    ///
    /// ```
    /// # mod app {
    /// #     diesel::table! { users (id) { id -> BigInt, tenant_id -> BigInt, } }
    /// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
    /// #     #[diesel(table_name = users)]
    /// #     pub struct User { pub id: i64, pub tenant_id: i64 }
    /// # }
    /// # use app::User;
    /// use chrono::{DateTime, Utc};
    /// use diesel::connection::LoadConnection;
    /// use diesel::{pg::Pg, prelude::*};
    /// use threadline::{AsOf, Scope, prelude::*};
    ///
    /// fn then(conn: &mut impl LoadConnection<Backend = Pg>, moment: DateTime<Utc>) -> QueryResult<Vec<AsOf<User>>> {
    ///     User::scoped(Scope::field("tenant_id", 7)).as_of_many([42, 43], moment).load(conn)
    /// }
    /// ```
    pub fn as_of_many<Id, Kind, T>(
        self,
        ids: impl IntoIterator<Item = Id>,
        moment: T,
    ) -> AsOfRows<M, Id::Expression, T::Expression>
    where
        Id: IntoKey<M::Key, Kind>,
        T: AsExpression<Timestamptz>,
    {
        let keys = ids.into_iter().map(IntoKey::into_key);
        AsOfKeys::new(
            ManyKeys(keys.collect()),
            moment.as_expression(),
            Some(self.scope),
        )
    }
}

impl<M> Clone for Reads<M> {
    fn clone(&self) -> Self {
        Self::new(self.scope.clone())
    }
}

impl<M> fmt::Debug for Reads<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reads").field(&self.scope).finish()
    }
}
