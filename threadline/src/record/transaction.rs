//! Units of work on a blocking connection.

use diesel::connection::{Connection, LoadConnection, TransactionManager};
use diesel::pg::Pg;
use diesel::result::Error;
use diesel::{QueryResult, RunQueryDsl};

use super::context::AuditContext;
use super::scope::Scope;
use super::settings::Settings;
use super::settings_query::CurrentSettings;

/// Runs `work` in a database transaction whose changes are attributed to `context`.
///
/// It commits if `work` returns `Ok` and rolls back if it returns `Err`, like Diesel's
/// [`Connection::transaction`], and adds one round trip for the context. Whatever `work`
/// writes through the connection is captured under the context: typed queries, raw SQL,
/// cascades. Works on a `PgConnection` and on the guards of an r2d2 pool.
///
/// ```no_run
/// use diesel::connection::LoadConnection;
/// use diesel::pg::Pg;
/// use diesel::prelude::*;
/// use threadline::{ActorRef, AuditContext};
/// # diesel::table! { invoices (id) { id -> BigInt, state -> Text } }
///
/// fn refund(
///     conn: &mut impl LoadConnection<Backend = Pg>,
///     user: i64,
///     invoice: i64,
/// ) -> Result<(), Box<dyn std::error::Error>> {
///     let context = AuditContext::new(ActorRef::user(user)?).source("billing-api");
///     threadline::transaction(conn, &context, |conn| {
///         diesel::update(invoices::table.find(invoice))
///             .set(invoices::state.eq("refunded"))
///             .execute(conn)?;
///         Ok(())
///     })
/// }
/// ```
///
/// # Nesting
///
/// Inside an open transaction it is a savepoint. The context of the outer transaction is
/// back in force afterwards, whichever way the savepoint ended. Fields that the inner
/// context leaves empty are inherited, its metadata are added to the outer ones, and its
/// actor has to be the outer one or none. A database transaction is stored once, with the
/// context of its first captured change; only a missing actor is filled in by a later one.
///
/// For another isolation level, nest it in Diesel's `build_transaction`.
///
/// # Errors
///
/// The error of `work`; that of the database if the transaction can't begin or commit;
/// and a [`ContextError`](super::ContextError) as a
/// [`QueryBuilderError`](Error::QueryBuilderError), before anything begins, if the
/// context exceeds a limit or names another actor than the transaction around it.
pub fn transaction<C, R, E, F>(conn: &mut C, context: &AuditContext, work: F) -> Result<R, E>
where
    C: LoadConnection<Backend = Pg>,
    E: From<Error>,
    F: FnOnce(&mut C) -> Result<R, E>,
{
    let Scope { enter, leave } = scope(conn, context)?;
    conn.transaction(|conn| {
        if let Some(settings) = enter {
            settings.execute(conn)?;
        }
        let outcome = work(conn)?;
        if let Some(settings) = leave {
            settings.execute(conn)?;
        }
        Ok(outcome)
    })
}

fn scope<C>(conn: &mut C, context: &AuditContext) -> QueryResult<Scope>
where
    C: LoadConnection<Backend = Pg>,
{
    let settings = Settings::try_from(context)?;
    if is_open(conn)? {
        let outer = CurrentSettings.get_result(conn)?;
        Ok(Scope::nested(settings, outer)?)
    } else {
        Ok(Scope::outermost(settings))
    }
}

/// Diesel's own count of open transactions, the only thing that knows without asking the
/// server whether `Connection::transaction` will set a savepoint.
fn is_open<C: Connection>(conn: &mut C) -> QueryResult<bool> {
    let depth = C::TransactionManager::transaction_manager_status_mut(conn).transaction_depth()?;
    Ok(depth.is_some())
}
