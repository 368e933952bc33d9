//! What an actor did, transaction by transaction.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;

use super::entry::{TRANSACTION, TransactionSummary};
use super::list::{List, Listing};
use super::page::Page;
use super::push::push_actor;
use super::scope::{Scope, push_asked, push_scope};
use super::walk::{Ordered, Side, Walk};
use crate::record::ActorRef;

/// The transactions of an actor, newest first by `(occurred_at, id)`, each with its changes counted by table and
/// operation: a query of one page, 50 entries unless told otherwise.
///
/// # Examples
///
/// ```
/// use diesel::{connection::LoadConnection, pg::Pg, prelude::*};
/// use threadline::{ActorRef, actor_history};
///
/// fn audit(conn: &mut impl LoadConnection<Backend = Pg>) -> Result<(), Box<dyn std::error::Error>> {
///     let page = actor_history(ActorRef::service_account("billing")?).get_result(conn)?;
///     for entry in &page.entries {
///         println!("{} {:?}", entry.transaction.occurred_at, entry.counts);
///     }
///     Ok(())
/// }
/// ```
pub fn actor_history(actor: ActorRef) -> List<ActorHistory> {
    List::new(ActorHistory(actor))
}

/// What [`actor_history`] lists.
#[derive(Debug, Clone)]
pub struct ActorHistory(ActorRef);

const PLACE: Ordered = Ordered {
    before: "",
    time: "tl_t.occurred_at",
    id: "tl_t.id",
    inserted_by: "tl_t.xmin",
    transaction: "tl_t.id",
};

impl Listing for ActorHistory {
    type Answer = Page<TransactionSummary>;

    fn push<'b>(
        &'b self,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        fingerprint: u64,
        mut out: AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql(&format!(
            "SELECT ARRAY(SELECT ROW({TRANSACTION}, ARRAY(SELECT ROW(tl_c.table_schema, tl_c.table_name, tl_c.op, count(*)) \
             FROM audit_changes AS tl_c WHERE tl_c.transaction_id = tl_t.id"
        ));
        push_scope(scope, &mut out, "tl_c")?;
        out.push_sql(
            " GROUP BY tl_c.table_schema, tl_c.table_name, tl_c.op ORDER BY tl_c.table_schema, tl_c.table_name, tl_c.op)) \
             FROM (",
        );
        self.push_transactions(walk, scope, Side::Ahead, &mut out)?;
        out.push_sql(") AS tl_t");
        walk.push_order(&mut out, Side::Ahead, &PLACE);
        out.push_sql("), ");
        if walk.cursor().is_some() {
            out.push_sql("EXISTS (");
            self.push_transactions(walk, scope, Side::Behind, &mut out)?;
            out.push_sql(")");
        } else {
            out.push_sql("false");
        }
        out.push_sql(", ");
        walk.push_facts(&mut out, fingerprint)?;
        out.push_sql(" WHERE ");
        push_asked(scope, &mut out, None, None)
    }
}

impl ActorHistory {
    fn push_transactions<'b>(
        &'b self,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        side: Side,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        // The index has the order of the times alone: as many as it takes, and those of the last one's time.
        out.push_sql("SELECT tl_t.* FROM (SELECT tl_t.* FROM audit_transactions AS tl_t WHERE ");
        push_actor(out, "tl_t", &self.0)?;
        walk.push_place(out, side, &PLACE)?;
        push_in_scope(scope, out, "tl_t.id")?;
        walk.push_ties(out, side, PLACE.time);
        out.push_sql(") AS tl_t");
        walk.push_order(out, side, &PLACE);
        walk.push_limit(out, side);
        Ok(())
    }
}

/// ` AND …` that a transaction has a change in scope.
pub(super) fn push_in_scope<'b>(
    scope: &'b Option<Scope>,
    out: &mut AstPass<'_, 'b, Pg>,
    transaction: &str,
) -> QueryResult<()> {
    if Scope::restricting(scope).is_none() {
        return Ok(());
    }
    out.push_sql(&format!(
        " AND EXISTS (SELECT FROM audit_changes AS tl_v WHERE tl_v.transaction_id = {transaction}"
    ));
    push_scope(scope, out, "tl_v")?;
    out.push_sql(")");
    Ok(())
}
