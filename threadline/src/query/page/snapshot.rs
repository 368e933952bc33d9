//! What a walk of pages sees: the transactions that had committed when it began.

use std::fmt;
use std::str::FromStr;

use super::codec::{put_number, take_number};

/// A `pg_snapshot`: every transaction before `next` had ended, except those of `running`. With the server that took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::query) struct Seen {
    /// Every transaction before this one had ended.
    oldest: u64,
    next: u64,
    /// In ascending order, all from `oldest` on and before `next`.
    running: Vec<u64>,
    /// When the server was started, in microseconds.
    begun_at: u64,
    /// On a standby, whose snapshots list no running transactions: since when, in microseconds, each of `running` is
    /// known to be one.
    covered: Option<u64>,
}

impl Seen {
    pub(in crate::query) fn oldest(&self) -> u64 {
        self.oldest
    }

    pub(in crate::query) fn begun_at(&self) -> u64 {
        self.begun_at
    }

    pub(in crate::query) fn covered(&self) -> Option<u64> {
        self.covered
    }

    /// As PostgreSQL prints it: `xmin:xmax:xip,…`
    pub(in crate::query) fn snapshot(&self) -> String {
        let running: Vec<_> = self.running.iter().map(u64::to_string).collect();
        format!("{}:{}:{}", self.oldest, self.next, running.join(","))
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
        put_number(bytes, self.begun_at);
        put_number(bytes, self.covered.map_or(0, |covered| covered + 1));
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
        let begun_at = take_number(bytes)?;
        let covered = take_number(bytes)?.checked_sub(1);
        Self {
            oldest,
            next,
            running,
            begun_at,
            covered,
        }
        .checked()
    }

    fn checked(self) -> Option<Self> {
        let Self {
            oldest,
            next,
            ref running,
            begun_at,
            covered,
        } = self;
        let ascending = running.is_sorted_by(|one, other| one < other);
        let within = running.iter().all(|id| (oldest..next).contains(id));
        // They are numbers of SQL too.
        let small = [next, begun_at, covered.unwrap_or(0)].map(i64::try_from);
        let small = small.iter().all(Result::is_ok);
        (oldest > 0 && oldest <= next && small && ascending && within).then_some(self)
    }
}

/// As the first page tells it: the snapshot, the server's start, and on a standby since when it is covered.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.snapshot(), self.begun_at)?;
        match self.covered {
            Some(covered) => write!(f, "/{covered}"),
            None => Ok(()),
        }
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
            let mut facts = text.split('/');
            let mut parts = facts.next()?.splitn(3, ':');
            let oldest = parts.next()?.parse().ok()?;
            let next = parts.next()?.parse().ok()?;
            let running = parts.next()?.split(',').filter(|id| !id.is_empty());
            let running: Result<Vec<_>, _> = running.map(str::parse).collect();
            let seen = Self {
                oldest,
                next,
                running: running.ok()?,
                begun_at: facts.next()?.parse().ok()?,
                covered: facts.next().map(str::parse).transpose().ok()?,
            };
            facts.next().is_none().then_some(seen)?.checked()
        };
        read().ok_or_else(|| NoSnapshot(text.to_owned()))
    }
}
