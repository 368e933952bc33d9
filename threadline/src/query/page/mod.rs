//! Pages: a part of a list, and where it goes on.

mod codec;
mod cursor;
mod error;
mod snapshot;

use diesel::deserialize::{self, FromSql, FromStaticSqlRow, Queryable};
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Bool, SingleValue, SqlType, Text};

use super::answer::{AnswerRow, selectable};
pub use cursor::{Cursor, Position};
pub(super) use cursor::{EntryId, fingerprint};
pub use error::{CursorError, PageError};
pub(super) use snapshot::Seen;

/// How many entries a page has unless told otherwise.
pub(super) const DEFAULT_LIMIT: i64 = 50;

/// The most entries that a page may have.
pub(super) const MAX_LIMIT: i64 = 1000;

/// What a standby tells instead of what the walk sees: that it may be behind that, and that it is too much for a cursor.
pub(super) const BEHIND: &str = "behind";
const RUNNING: &str = "running";

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The entries, in the order of the list whichever way the walk goes.
    pub entries: Vec<T>,
    /// Whether the list goes on after them.
    pub has_more: bool,
    /// The page after this one; `None` on the last.
    pub cursor: Option<Cursor>,
    /// The page before this one; `None` on the first.
    pub back: Option<Cursor>,
}

/// An entry of a list.
pub trait Entry: FromSql<Self::Sql, Pg> {
    /// Its type in SQL.
    type Sql: SqlType + SingleValue + 'static;

    /// Its place in the list.
    fn position(&self) -> Position;
}

/// The entries in the order in which they were fetched, one more than asked for if there is one; whether any is on the
/// other side; the snapshot; and of the query: its fingerprint, whether it went back, and its limit.
pub type PageSql<E> = (Array<E>, Bool, Text, BigInt, Bool, BigInt);

type PageRow<T> = (Vec<T>, bool, String, i64, bool, i64);

impl<T: Entry> AnswerRow for Page<T> {
    type Sql = PageSql<T::Sql>;
}

selectable!(@ [T: Entry] Page<T>);

impl<T: Entry> Queryable<PageSql<T::Sql>, Pg> for Page<T>
where
    PageRow<T>: FromStaticSqlRow<PageSql<T::Sql>, Pg>,
{
    type Row = PageRow<T>;

    fn build(
        (mut entries, behind, seen, fingerprint, back, limit): Self::Row,
    ) -> deserialize::Result<Self> {
        let ahead = entries.len() as i64 > limit;
        entries.truncate(usize::try_from(limit)?);
        if back {
            entries.reverse();
        }
        let (before, after) = if back {
            (ahead, behind)
        } else {
            (behind, ahead)
        };
        let seen: Option<Seen> = match seen.as_str() {
            BEHIND => return Err(PageError::StandbyBehind.into()),
            RUNNING => None,
            told => Some(told.parse()?),
        };
        let at = |entry: Option<&T>, back| -> Result<_, PageError> {
            let Some(entry) = entry else { return Ok(None) };
            Ok(Some(Cursor {
                back,
                fingerprint: fingerprint.cast_unsigned(),
                position: entry.position(),
                // A page that is all of its list needs none.
                seen: seen.clone().ok_or(PageError::StandbyCrowded)?,
            }))
        };
        let cursor = at(entries.last().filter(|_| after), false)?;
        let back = at(entries.first().filter(|_| before), true)?;
        Ok(Self {
            has_more: cursor.is_some(),
            entries,
            cursor,
            back,
        })
    }
}
