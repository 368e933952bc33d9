//! Where a page ends, as a text to hand out.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::codec::{decode, encode, hash};
use super::error::CursorError;
use super::snapshot::Seen;

/// Rises when cursors of an older version can't be read any more.
const VERSION: u8 = 2;

/// How many bytes of the checksum are kept.
const CHECKSUM: usize = 4;

/// An entry's place in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub(in crate::query) at: DateTime<Utc>,
    pub(in crate::query) id: EntryId,
}

/// What tells entries of one time apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::query) enum EntryId {
    Change(i64),
    Transaction(Uuid),
}

/// Where a walk of pages goes on, and what it sees: opaque, and safe in a URL as it is.
///
/// It belongs to the query that gave it out: the same list, filter, order and scope. It carries the snapshot of the first
/// page, so a walk sees what had been committed when it began, all of it and nothing twice, whoever writes meanwhile. On a
/// standby that is what had been replayed; see [`PageError`](crate::PageError) for the pages that a standby refuses.
///
/// # Examples
///
/// ```
/// use threadline::{Cursor, CursorError};
///
/// assert_eq!("not a cursor".parse::<Cursor>(), Err(CursorError::Malformed));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub(in crate::query) back: bool,
    pub(in crate::query) fingerprint: u64,
    pub(in crate::query) position: Position,
    pub(in crate::query) seen: Seen,
}

/// What a cursor must have been given out by.
pub(in crate::query) fn fingerprint(query: &str) -> u64 {
    hash(query.as_bytes())
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION, u8::from(self.back)];
        bytes.extend(self.fingerprint.to_be_bytes());
        bytes.extend(self.position.at.timestamp_micros().to_be_bytes());
        match self.position.id {
            EntryId::Change(id) => bytes.extend(id.to_be_bytes()),
            EntryId::Transaction(id) => {
                bytes[1] |= 2;
                bytes.extend(id.as_bytes());
            }
        }
        self.seen.put(&mut bytes);
        let checksum = hash(&bytes).to_be_bytes();
        bytes.extend(&checksum[..CHECKSUM]);
        f.write_str(&encode(&bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = decode(text).ok_or(CursorError::Malformed)?;
        match bytes.first() {
            None => return Err(CursorError::Malformed),
            Some(&VERSION) => {}
            Some(&found) => {
                return Err(CursorError::Version {
                    found,
                    expected: VERSION,
                });
            }
        }
        let (content, checksum) = bytes
            .len()
            .checked_sub(CHECKSUM)
            .and_then(|end| bytes.split_at_checked(end))
            .ok_or(CursorError::Malformed)?;
        if hash(content).to_be_bytes()[..CHECKSUM] != *checksum {
            return Err(CursorError::Altered);
        }
        read(&content[1..]).ok_or(CursorError::Malformed)
    }
}

fn read(mut bytes: &[u8]) -> Option<Cursor> {
    let [flags] = take(&mut bytes)?;
    let fingerprint = u64::from_be_bytes(take(&mut bytes)?);
    let at = DateTime::from_timestamp_micros(i64::from_be_bytes(take(&mut bytes)?))?;
    let id = match flags {
        0 | 1 => EntryId::Change(i64::from_be_bytes(take(&mut bytes)?)),
        2 | 3 => EntryId::Transaction(Uuid::from_bytes(take(&mut bytes)?)),
        _ => return None,
    };
    let seen = Seen::take(&mut bytes)?;
    bytes.is_empty().then_some(Cursor {
        back: flags & 1 == 1,
        fingerprint,
        position: Position { at, id },
        seen,
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ON_PRIMARY: &str = "700:900:701,777,899/1773570600000001";
    const ON_STANDBY: &str = "700:900:701,777,899/1773570600000001/0";

    fn cursor(id: EntryId, seen: &str) -> Cursor {
        Cursor {
            back: true,
            fingerprint: 7,
            position: Position {
                at: "2026-03-15T10:30:00.000001Z".parse().unwrap(),
                id,
            },
            seen: seen.parse().unwrap(),
        }
    }

    #[test]
    fn a_cursor_reads_back_and_needs_no_escaping() {
        for (id, seen) in [
            (EntryId::Change(i64::MAX), ON_PRIMARY),
            (EntryId::Transaction(Uuid::from_u128(5)), ON_STANDBY),
        ] {
            let text = cursor(id, seen).to_string();
            assert_eq!(text.parse(), Ok(cursor(id, seen)));
            assert_eq!(cursor(id, seen).seen.to_string(), seen);
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
        }
    }

    #[test]
    fn no_altered_cursor_is_read() {
        let text = cursor(EntryId::Change(5), ON_PRIMARY).to_string();
        for index in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[index] = if altered[index] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(altered.parse::<Cursor>().is_err(), "{altered}");
            assert!(text[..index].parse::<Cursor>().is_err(), "{index}");
        }
        assert!(format!("{text}A").parse::<Cursor>().is_err());
    }

    #[test]
    fn another_version_is_told() {
        let text = encode(&[9, 1, 2, 3, 4, 5, 6]);
        let refused = text.parse::<Cursor>().unwrap_err();
        assert_eq!(
            refused,
            CursorError::Version {
                found: 9,
                expected: 2
            }
        );
    }
}
