//! What a filter can be refused for.

use thiserror::Error;

/// A filter that can't be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FilterError {
    /// There is no such filter.
    #[error("unknown filter `{key}`{}; filters are {}", nearest(.suggestion), super::text::names())]
    UnknownKey {
        /// The key that was given.
        key: String,
        /// The filter that it may have been meant for.
        suggestion: Option<&'static str>,
    },
    /// The value of a filter can't be read.
    #[error("the filter `{key}` can't be `{value}`; expected {expected}")]
    BadValue {
        /// The filter.
        key: &'static str,
        /// The value that was given.
        value: String,
        /// What a value looks like.
        expected: &'static str,
    },
    /// A filter was given twice.
    #[error("the filter `{key}` is given twice; leave one out")]
    Twice {
        /// The filter.
        key: &'static str,
    },
    /// A text has no `=`.
    #[error("`{text}` is no filter; expected `key=value`, such as `table=users`")]
    NoPair {
        /// The text that was given.
        text: String,
    },
    /// A key was given without the table whose key it is.
    #[error(
        "the filter `key` needs the filter `table`: say whose key it is, such as `table=users`"
    )]
    KeyWithoutTable,
}

fn nearest(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
