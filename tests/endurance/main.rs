//! What the log is worth under load and after faults. Tests of this binary take seconds, and cores: one after the other.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "this binary is only tests"
)]

mod as_of_commit;
mod as_of_queries;
mod bulk;
mod cancelled;
mod crashes;
mod disk_full;
mod killed_client;
mod large_log;
mod many;
mod pgbench;
mod pgbouncer;
mod pooled;
mod replica;
mod restored;
mod serializable;
mod subscriber;

#[path = "../integration/moment/queries.rs"]
#[allow(dead_code, reason = "the integration tests ask more of it")]
mod queries;

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use threadline::{ActorRef, AuditContext};

/// Waits for the test that runs. One that failed hinders nobody.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn user(id: &str) -> AuditContext {
    AuditContext::new(ActorRef::user(id).unwrap())
}

/// A figure worth seeing: past the test harness, which keeps what passing tests print to itself.
fn report(figures: &str) {
    let _ = writeln!(std::io::stderr(), "{figures}");
}
