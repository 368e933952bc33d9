//! What the log is worth under load and after faults. Tests of this binary take seconds, and cores: one after the other.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "this binary is only tests"
)]

mod as_of_commit;
mod bulk;
mod cancelled;
mod crashes;
mod disk_full;
mod killed_client;
mod large_log;
mod pgbench;
mod pgbouncer;
mod pooled;
mod restored;
mod serializable;

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use threadline::{ActorRef, AuditContext};

/// Waits for the test that runs. One that failed hinders nobody.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks again until there is an answer, for a minute.
fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited a minute for {what}");
        sleep(Duration::from_millis(5));
    }
}

fn user(id: &str) -> AuditContext {
    AuditContext::new(ActorRef::user(id).unwrap())
}

/// A figure worth seeing: past the test harness, which keeps what passing tests print to itself.
fn report(figures: &str) {
    let _ = writeln!(std::io::stderr(), "{figures}");
}
