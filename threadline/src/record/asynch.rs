//! Units of work on an asynchronous connection.
//!
//! The queries of this crate run on either kind of connection; only [`transaction()`]
//! has to be told which.

use std::future::Future;
use std::mem;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::result::Error;
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};

use super::context::AuditContext;
use super::context_error::ContextError;
use super::scope::Scope;
use super::settings::Settings;
use super::settings_query::CurrentSettings;

/// An async closure whose future can be named, and so be required to be [`Send`].
///
/// Implemented for every async closure and function; nothing to do for callers.
pub trait AsyncFunc<T, R>:
    AsyncFnOnce(T) -> R + FnOnce(T) -> <Self as AsyncFunc<T, R>>::Fut
{
    /// The future of one call.
    type Fut: Future<Output = R>;
}

impl<F, T, Fut, R> AsyncFunc<T, R> for F
where
    F: AsyncFnOnce(T) -> R + FnOnce(T) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// Runs `work` in a database transaction whose changes are attributed to `context`.
///
/// Does what [`transaction`](super::transaction()) does, nesting included, on an
/// `AsyncPgConnection` or the guard of a bb8, deadpool or mobc pool. Its future is `Send`
/// also where `work` captures references.
///
/// ```no_run
/// use diesel::pg::Pg;
/// use diesel::prelude::*;
/// use diesel_async::{AsyncConnection, RunQueryDsl};
/// use threadline::{ActorRef, AuditContext};
/// # diesel::table! { invoices (id) { id -> BigInt, state -> Text } }
///
/// type BoxError = Box<dyn std::error::Error + Send + Sync>;
///
/// async fn refund<C>(conn: &mut C, user: i64, invoice: i64) -> Result<(), BoxError>
/// where
///     C: AsyncConnection<Backend = Pg>,
/// {
///     let context = AuditContext::new(ActorRef::user(user)?).source("billing-api");
///     threadline::asynch::transaction(conn, &context, async |conn| {
///         diesel::update(invoices::table.find(invoice))
///             .set(invoices::state.eq("refunded"))
///             .execute(conn)
///             .await?;
///         Ok(())
///     })
///     .await
/// }
/// ```
///
/// # Cancellation
///
/// A future that is dropped before it is done commits nothing, but it can't wait for a
/// rollback: the connection is left inside the transaction, and has to be dropped. bb8 and
/// deadpool do that instead of lending it again; mobc lends it, as of diesel-async 0.9.2.
/// Every further transaction on it fails with
/// [`BrokenTransactionManager`](Error::BrokenTransactionManager), and so does one around the
/// dropped future: as savepoints of the abandoned transaction they would seem to succeed.
///
/// # Errors
///
/// As for [`transaction`](super::transaction()).
pub fn transaction<'c, 'a, C, R, E, F>(
    conn: &'c mut C,
    context: &AuditContext,
    work: F,
) -> impl Future<Output = Result<R, E>> + Send + use<'c, 'a, C, R, E, F>
where
    C: AsyncConnection<Backend = Pg>,
    for<'r> F: AsyncFnOnce(&'r mut C) -> Result<R, E>
        + AsyncFunc<&'r mut C, Result<R, E>, Fut: Send>
        + Send
        + 'a,
    E: From<Error> + Send + 'a,
    R: Send + 'a,
    'a: 'c,
{
    let settings = Settings::try_from(context);
    async move {
        let Scope { enter, leave } = scope(conn, settings).await?;
        let unfinished = Unfinished(conn);
        let outcome = unfinished
            .0
            .transaction(async move |conn| {
                if let Some(settings) = enter {
                    settings.execute(conn).await?;
                }
                let outcome = work(conn).await?;
                if let Some(settings) = leave {
                    settings.execute(conn).await?;
                }
                Ok(outcome)
            })
            .await;
        mem::forget(unfinished);
        outcome
    }
}

/// Takes a connection out of use when its transaction is dropped before the end.
///
/// Diesel would go on counting the abandoned transaction as open, and take the next one
/// for a savepoint in it: it would seem to succeed and never commit.
struct Unfinished<'c, C: AsyncConnection>(&'c mut C);

impl<C: AsyncConnection> Drop for Unfinished<'_, C> {
    fn drop(&mut self) {
        C::TransactionManager::transaction_manager_status_mut(self.0).set_in_error();
    }
}

async fn scope<C>(conn: &mut C, settings: Result<Settings, ContextError>) -> QueryResult<Scope>
where
    C: AsyncConnection<Backend = Pg>,
{
    let settings = settings?;
    if is_open(conn)? {
        let outer = CurrentSettings.get_result(conn).await?;
        Ok(Scope::nested(settings, outer)?)
    } else {
        Ok(Scope::outermost(settings))
    }
}

/// As in the blocking form: whether `AsyncConnection::transaction` will set a savepoint.
fn is_open<C: AsyncConnection>(conn: &mut C) -> QueryResult<bool> {
    let depth = C::TransactionManager::transaction_manager_status_mut(conn).transaction_depth()?;
    Ok(depth.is_some())
}
