//! What a walk of pages sees: the transactions that had committed when it began.

use std::fmt;
use std::str::FromStr;

use super::codec::{put_number, take_number};

/// A `pg_snapshot`: every transaction before `next` had ended, except those of `running`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::query) struct Seen {
    /// Every transaction before this one had ended.
    oldest: u64,
    next: u64,
    /// In ascending order, all from `oldest` on and before `next`.
    running: Vec<u64>,
}

impl Seen {
    pub(in crate::query) fn oldest(&self) -> u64 {
        self.oldest
    }

    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        put_number(bytes, self.oldest);
        put_number(bytes, self.next - self.oldest);
        put_number(bytes, self.running.len() as u64);
        let mut before = self.oldest;
        for running in &self.running {
            put_number(bytes, running - before);
            before = *running;
        }
    }

    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let oldest = take_number(bytes)?;
        let next = oldest.checked_add(take_number(bytes)?)?;
        let count = take_number(bytes)?;
        let mut before = oldest;
        let mut running = Vec::new();
        for _ in 0..count {
            before = before.checked_add(take_number(bytes)?)?;
            running.push(before);
        }
        Self::checked(oldest, next, running)
    }

    fn checked(oldest: u64, next: u64, running: Vec<u64>) -> Option<Self> {
        let ascending = running.is_sorted_by(|one, other| one < other);
        let within = running.iter().all(|id| (oldest..next).contains(id));
        (oldest > 0 && oldest <= next && i64::try_from(next).is_ok() && ascending && within)
            .then_some(Self {
                oldest,
                next,
                running,
            })
    }
}

/// As PostgreSQL prints it: `xmin:xmax:xip,…`
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.oldest, self.next)?;
        for (index, running) in self.running.iter().enumerate() {
            write!(f, "{}{running}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// A text that is no `pg_snapshot`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no pg_snapshot")]
pub(in crate::query) struct NoSnapshot(String);

impl FromStr for Seen {
    type Err = NoSnapshot;

    fn from_str(text: &str) -> Result<Self, NoSnapshot> {
        let read = || {
            let mut parts = text.splitn(3, ':');
            let oldest = parts.next()?.parse().ok()?;
            let next = parts.next()?.parse().ok()?;
            let running = parts.next()?.split(',').filter(|id| !id.is_empty());
            let running: Result<Vec<_>, _> = running.map(str::parse).collect();
            Self::checked(oldest, next, running.ok()?)
        };
        read().ok_or_else(|| NoSnapshot(text.to_owned()))
    }
}
