//! Ids of transactions, as they come.

use std::fmt;

use uuid::Uuid;

/// The id that a text is; `None` is no transaction's.
pub(super) fn transaction_id(id: impl fmt::Display) -> Option<Uuid> {
    id.to_string().parse().ok()
}
