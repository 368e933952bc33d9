//! The night shift, with diesel-async: a job with a mistake in it, and the correction.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use threadline::asynch::transaction;
use threadline::prelude::*;
use threadline::{Action, ActorRef, AsOf, AuditContext, Change, Op, change, record_action};

use crate::billing::admin;
use crate::models::{Invoice, InvoiceStatus};
use crate::schema::invoices;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What the night brought.
#[derive(Debug)]
pub struct Night {
    /// When it began.
    pub began: DateTime<Utc>,
    /// What the log has of the invoice that the job touched, newest first, after the correction.
    pub history: Vec<Change<Invoice>>,
    /// The invoice as it was when the night began.
    pub before: AsOf<Invoice>,
}

/// Runs the night on a pool of asynchronous connections.
///
/// # Errors
///
/// Those of the pool and of the database.
pub async fn run(url: &str, invoice: i64) -> Result<Night> {
    let pool = Pool::builder()
        .build(AsyncDieselConnectionManager::<AsyncPgConnection>::new(url))
        .await?;
    let began = Utc::now();

    let job = {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut conn = pool.get().await?;
            let context =
                AuditContext::new(ActorRef::job("nightly-dunning")?).job_id("run-2026-01-05");
            // One statement for all open invoices, and one WHERE too few.
            transaction(&mut conn, &context, async |conn| {
                diesel::update(invoices::table.filter(invoices::status.eq(InvoiceStatus::Open)))
                    .set(invoices::status.eq(InvoiceStatus::Void))
                    .execute(conn)
                    .await
            })
            .await?;
            Result::Ok(())
        })
    };
    job.await??;

    let mut conn = pool.get().await?;
    undo(&mut conn, invoice).await?;
    Ok(Night {
        began,
        history: Invoice::history(invoice).load(&mut conn).await?,
        before: Invoice::as_of(invoice, began).get_result(&mut conn).await?,
    })
}

/// Finds the job's change in the log and puts the values before it back.
async fn undo(conn: &mut AsyncPgConnection, invoice: i64) -> Result<()> {
    let job = ActorRef::job("nightly-dunning")?;
    let mistake = Invoice::history(invoice)
        .filter(change::actor_ref.eq(job))
        .filter(change::op.eq(Op::Update))
        .first(conn)
        .await?;
    let before = mistake
        .changed_from
        .as_ref()
        .and_then(|values| InvoiceStatus::from_label(&values["status"].as_str()?))
        .ok_or("the log has no status from before the job")?;

    let context = AuditContext::new(admin()?).correlation_id("incident-3");
    transaction(conn, &context, async |conn| {
        record_action(
            Action::new("invoice.restored").reason("nightly-dunning voided open invoices"),
        )
        .get_result::<uuid::Uuid>(conn)
        .await?;
        diesel::update(invoices::table.find(invoice))
            .set(invoices::status.eq(before))
            .execute(conn)
            .await
    })
    .await?;
    Ok(())
}
