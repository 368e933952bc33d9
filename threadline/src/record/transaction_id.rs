//! The identity of the open transaction in the audit log.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Nullable, Uuid};

/// The query that [`transaction_id`] returns.
#[derive(Debug, Clone, Copy, QueryId)]
#[must_use = "a query does nothing until it is executed, for example by `get_result`"]
pub struct TransactionId {
    _private: (),
}

/// The id under which the open transaction is filed in `audit_transactions`, as an
/// `Option<Uuid>`: `None` while none of its changes has been captured.
///
/// ```no_run
/// use diesel::connection::LoadConnection;
/// use diesel::pg::Pg;
/// use diesel::prelude::*;
/// use uuid::Uuid;
///
/// fn receipt(conn: &mut impl LoadConnection<Backend = Pg>) -> QueryResult<Option<Uuid>> {
///     threadline::transaction_id().get_result(conn)
/// }
/// ```
pub const fn transaction_id() -> TransactionId {
    TransactionId { _private: () }
}

impl QueryFragment<Pg> for TransactionId {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT threadline_transaction_v1()");
        Ok(())
    }
}

impl Query for TransactionId {
    type SqlType = Nullable<Uuid>;
}

impl<C> diesel::RunQueryDsl<C> for TransactionId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_the_versioned_function() {
        assert_eq!(
            diesel::debug_query::<Pg, _>(&transaction_id()).to_string(),
            "SELECT threadline_transaction_v1() -- binds: []"
        );
    }
}
