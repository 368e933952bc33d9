//! Everything about one transaction, as one value.

use std::marker::PhantomData;

use diesel::deserialize::{self, Queryable};
use diesel::dsl::AsSelect;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Nullable, Uuid as SqlUuid};
use serde::Serialize;
use uuid::Uuid;

use super::id::transaction_id;
use crate::query::actor_history::push_in_scope;
use crate::query::answer::{AnswerRow, selectable};
use crate::query::entry::{
    ACTION, ActionRecord, AuditAction, AuditChange, AuditTransaction, CHANGE, ChangeRecord,
    TRANSACTION, TransactionRecord,
};
use crate::query::push::push_uuid;
use crate::query::scope::{Scope, push_asked, push_scope};

/// Who and why of one transaction.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TransactionContext {
    /// The transaction's id.
    pub id: Uuid,
    /// The transaction; `None` if nothing was captured in it, or the log has lost it.
    pub transaction: Option<AuditTransaction>,
    /// The actions that were recorded in it, in their order.
    pub actions: Vec<AuditAction>,
}

/// One transaction with everything that it did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IncidentBundle {
    /// Who and why.
    pub context: TransactionContext,
    /// Every change, newest first by `(captured_at, id)`.
    pub changes: Vec<AuditChange>,
}

/// The transaction with this id and its actions: a query of exactly one [`TransactionContext`].
///
/// An id is a UUID or a text. For one that is malformed, unknown or out of scope the query's error is
/// [`NotFound`](diesel::result::Error::NotFound).
///
/// ```
/// use diesel::{connection::LoadConnection, pg::Pg, prelude::*};
///
/// fn who(conn: &mut impl LoadConnection<Backend = Pg>, id: &str) -> QueryResult<()> {
///     let context = threadline::transaction_context(id).get_result(conn)?;
///     println!("{:?}", context.transaction.and_then(|transaction| transaction.actor));
///     Ok(())
/// }
/// ```
pub fn transaction_context(id: impl std::fmt::Display) -> OfTransaction<TransactionContext> {
    OfTransaction::new(transaction_id(id))
}

/// The transaction with this id, its actions and every change: a query of exactly one [`IncidentBundle`].
///
/// An id is a UUID or a text. For one that is malformed, unknown or out of scope the query's error is
/// [`NotFound`](diesel::result::Error::NotFound).
///
/// ```
/// use diesel::{connection::LoadConnection, pg::Pg, prelude::*};
///
/// fn print(conn: &mut impl LoadConnection<Backend = Pg>, id: &str) -> QueryResult<()> {
///     let bundle = threadline::incident_bundle(id).get_result(conn)?;
///     for change in &bundle.changes {
///         println!("{} {} {:?}", change.table_name, change.op, change.key);
///     }
///     Ok(())
/// }
/// ```
pub fn incident_bundle(id: impl std::fmt::Display) -> OfTransaction<IncidentBundle> {
    OfTransaction::new(transaction_id(id))
}

/// A query of exactly one `T`, about one transaction.
#[must_use = "queries do nothing until they are loaded"]
#[derive(Debug)]
pub struct OfTransaction<T> {
    id: Option<Uuid>,
    scope: Option<Scope>,
    answer: PhantomData<fn() -> T>,
}

impl<T> Clone for OfTransaction<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            scope: self.scope.clone(),
            answer: PhantomData,
        }
    }
}

impl<T> OfTransaction<T> {
    fn new(id: Option<Uuid>) -> Self {
        Self {
            id,
            scope: None,
            answer: PhantomData,
        }
    }

    /// What may be seen: changes in scope, and the transaction if it has one.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Everything may be seen, on purpose; see [`Scope::unscoped`].
    pub fn unscoped(self) -> Self {
        self.scope(Scope::unscoped())
    }

    /// The columns of a [`TransactionContext`].
    fn push_context<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        push_uuid(out, &self.id)?;
        out.push_sql(&format!(
            "::uuid, (SELECT {TRANSACTION} FROM audit_transactions AS tl_t WHERE tl_t.id = "
        ));
        push_uuid(out, &self.id)?;
        out.push_sql(&format!(
            "), ARRAY(SELECT {ACTION} FROM audit_actions AS tl_x WHERE tl_x.transaction_id = "
        ));
        push_uuid(out, &self.id)?;
        out.push_sql(" ORDER BY tl_x.inserted_at, tl_x.id)");
        Ok(())
    }

    /// The changes, an array.
    fn push_changes<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&format!(
            ", ARRAY(SELECT {CHANGE} FROM audit_changes AS tl_p WHERE tl_p.transaction_id = "
        ));
        push_uuid(out, &self.id)?;
        push_scope(&self.scope, out, "tl_p")?;
        out.push_sql(" ORDER BY tl_p.captured_at DESC, tl_p.id DESC)");
        Ok(())
    }

    fn push_existence<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        push_existing(&self.id, &self.scope, out)
    }
}

/// ` WHERE` the transaction exists: for a scope, if it has a change in it.
pub(super) fn push_existing<'b>(
    id: &'b Option<Uuid>,
    scope: &'b Option<Scope>,
    out: &mut AstPass<'_, 'b, Pg>,
) -> QueryResult<()> {
    // In this order, since a read that is refused must not depend on what exists.
    out.push_sql(" WHERE CASE WHEN ");
    push_asked(scope, out, None, None)?;
    out.push_sql(" THEN EXISTS (SELECT FROM (SELECT ");
    push_uuid(out, id)?;
    out.push_sql(
        "::uuid AS id) AS tl_i WHERE (EXISTS (SELECT FROM audit_transactions AS tl_t WHERE tl_t.id = tl_i.id) \
         OR EXISTS (SELECT FROM audit_changes AS tl_c WHERE tl_c.transaction_id = tl_i.id) \
         OR EXISTS (SELECT FROM audit_actions AS tl_x WHERE tl_x.transaction_id = tl_i.id))",
    );
    push_in_scope(scope, out, "tl_i.id")?;
    out.push_sql(") END");
    Ok(())
}

type ContextSql = (SqlUuid, Nullable<TransactionRecord>, Array<ActionRecord>);
type ContextRow = (Uuid, Option<AuditTransaction>, Vec<AuditAction>);

impl AnswerRow for TransactionContext {
    type Sql = ContextSql;
}

impl AnswerRow for IncidentBundle {
    type Sql = (ContextSql, Array<ChangeRecord>);
}

selectable!(TransactionContext);
selectable!(IncidentBundle);

impl Queryable<ContextSql, Pg> for TransactionContext {
    type Row = ContextRow;

    fn build((id, transaction, actions): ContextRow) -> deserialize::Result<Self> {
        Ok(Self {
            id,
            transaction,
            actions,
        })
    }
}

impl Queryable<(ContextSql, Array<ChangeRecord>), Pg> for IncidentBundle {
    type Row = (ContextRow, Vec<AuditChange>);

    fn build((context, changes): Self::Row) -> deserialize::Result<Self> {
        Ok(Self {
            context: TransactionContext::build(context)?,
            changes,
        })
    }
}

impl<T> QueryId for OfTransaction<T> {
    type QueryId = ();
    // The text depends on the scope.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T: Selectable<Pg>> Query for OfTransaction<T>
where
    AsSelect<T, Pg>: Expression,
{
    type SqlType = AsSelect<T, Pg>;
}

impl<T, Conn> RunQueryDsl<Conn> for OfTransaction<T> {}

impl QueryFragment<Pg> for OfTransaction<TransactionContext> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        self.push_context(&mut out)?;
        self.push_existence(&mut out)
    }
}

impl QueryFragment<Pg> for OfTransaction<IncidentBundle> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT ");
        self.push_context(&mut out)?;
        self.push_changes(&mut out)?;
        self.push_existence(&mut out)
    }
}
