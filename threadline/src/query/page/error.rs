//! What a page can be refused for.

use thiserror::Error;

use super::MAX_LIMIT;

/// A text that is no cursor of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CursorError {
    /// It isn't the text of a cursor at all.
    #[error("this is no cursor; begin at the first page, without one")]
    Malformed,
    /// Another version of this library made it.
    #[error(
        "the cursor has version {found} and this library reads {expected}; begin at the first page"
    )]
    Version {
        /// The version that it names.
        found: u8,
        /// The version that can be read.
        expected: u8,
    },
    /// It was altered on its way.
    #[error("the cursor was altered since it was given out; begin at the first page")]
    Altered,
}

/// A page that can't be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PageError {
    /// The limit is zero or negative.
    #[error("a page has at least one entry, not {limit}; limits are 1 to {MAX_LIMIT}")]
    LimitTooSmall {
        /// The limit that was asked for.
        limit: i64,
    },
    /// The limit is above the maximum.
    #[error("a page has at most {MAX_LIMIT} entries, not {limit}; follow its cursor for more")]
    LimitTooLarge {
        /// The limit that was asked for.
        limit: i64,
    },
    /// The cursor belongs to another list, filter, order or scope.
    #[error(
        "the cursor belongs to another query: its list, filter, order or scope differ; begin at the first page"
    )]
    AnotherQuery,
    /// The server is a standby, and a cursor would have to list too many transactions that may be running on its primary.
    /// Found when the page is loaded: [`DeserializationError`](diesel::result::Error::DeserializationError) holds it.
    #[error(
        "this server is a standby, and more transactions may be running on its primary than fit into a cursor; \
         read the pages from the primary, or a single page with a limit that takes all"
    )]
    StandbyCrowded,
    /// The server is a standby that may not have replayed yet all that the first page has seen on another server, or before
    /// a restart. Found when the page is loaded, as above.
    #[error(
        "this server is a standby and may not have replayed yet what the first page of this cursor has seen elsewhere; \
         ask the server that gave the cursor out, or begin at the first page"
    )]
    StandbyBehind,
    /// The text is no cursor.
    #[error(transparent)]
    Cursor(#[from] CursorError),
}
