//! Everything that shares a correlation id.

use diesel::QueryResult;
use diesel::deserialize::{self, FromStaticSqlRow, Queryable};
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types::Array;

use crate::query::actor_history::push_in_scope;
use crate::query::answer::{AnswerRow, selectable};
use crate::query::entry::{ACTION, ActionRecord, AuditAction, AuditChange, ChangeRecord};
use crate::query::list::{List, Listing};
use crate::query::page::{Page, PageSql};
use crate::query::push::push_text;
use crate::query::scope::Scope;
use crate::query::timeline::{TimelineFilter, push_tied};
use crate::query::walk::Walk;

/// Actions and changes that share a correlation id.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CorrelationBundle {
    /// The actions that have the id, or that were recorded in a transaction that has it, in the order of recording.
    pub actions: Vec<AuditAction>,
    /// The changes of the transactions that have the id, or that have an action which does; newest first.
    pub changes: Page<AuditChange>,
}

/// Actions and changes that share a correlation id, with or without an action: a query of one page of changes, 50 of them
/// unless told otherwise, with all of the actions.
///
/// For an id that nothing has, or nothing in scope, the query's error is [`NotFound`](diesel::result::Error::NotFound).
/// An action belongs to a scope by the changes of its transaction.
///
/// ```
/// use diesel::{connection::LoadConnection, pg::Pg, prelude::*};
///
/// fn print(conn: &mut impl LoadConnection<Backend = Pg>) -> QueryResult<()> {
///     let bundle = threadline::correlation_bundle("checkout-19").get_result(conn)?;
///     println!("{:?} {:?}", bundle.actions, bundle.changes.entries);
///     Ok(())
/// }
/// ```
pub fn correlation_bundle(id: impl Into<String>) -> List<Correlated> {
    let id = Some(id.into());
    let mut filter = TimelineFilter::new();
    filter.correlation_id.clone_from(&id);
    List::new(Correlated { id, filter })
}

/// What [`correlation_bundle`] lists.
#[derive(Debug, Clone)]
pub struct Correlated {
    id: Option<String>,
    filter: TimelineFilter,
}

impl Listing for Correlated {
    type Answer = CorrelationBundle;

    fn push<'b>(
        &'b self,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        fingerprint: u64,
        mut out: AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql(&format!(
            "SELECT ARRAY(SELECT {ACTION} FROM audit_actions AS tl_x WHERE "
        ));
        self.push_actions(scope, &mut out)?;
        out.push_sql(" ORDER BY tl_x.inserted_at, tl_x.id), ");
        self.filter.push_page(walk, scope, fingerprint, &mut out)?;
        out.push_sql(" WHERE CASE WHEN ");
        self.filter.push_asked(scope, &mut out)?;
        out.push_sql(" THEN EXISTS (SELECT FROM ");
        push_tied(&mut out, "correlation_id", &self.id)?;
        out.push_sql(" AS tl_i WHERE true");
        push_in_scope(scope, &mut out, "tl_i.id")?;
        out.push_sql(") END");
        Ok(())
    }
}

impl Correlated {
    fn push_actions<'b>(
        &'b self,
        scope: &'b Option<Scope>,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        // The transactions that have the id are few; the actions of others that have it are found by its index.
        out.push_sql("(tl_x.correlation_id = ");
        push_text(out, self.id.as_deref().unwrap_or_default())?;
        out.push_sql(" OR tl_x.transaction_id = ANY (ARRAY(SELECT tl_t.id FROM audit_transactions AS tl_t WHERE tl_t.correlation_id = ");
        push_text(out, self.id.as_deref().unwrap_or_default())?;
        out.push_sql(")))");
        push_in_scope(scope, out, "tl_x.transaction_id")
    }
}

type BundleSql = (Array<ActionRecord>, PageSql<ChangeRecord>);

impl AnswerRow for CorrelationBundle {
    type Sql = BundleSql;
}

selectable!(CorrelationBundle);

impl Queryable<BundleSql, Pg> for CorrelationBundle
where
    (Vec<AuditAction>, Page<AuditChange>): FromStaticSqlRow<BundleSql, Pg>,
{
    type Row = (Vec<AuditAction>, Page<AuditChange>);

    fn build((actions, changes): Self::Row) -> deserialize::Result<Self> {
        Ok(Self { actions, changes })
    }
}
