//! The typed read path: Diesel queries as values.

mod as_of;
mod as_of_many;
mod change;
mod columns;
mod history;
mod key;
mod moment;
mod op;
mod recorded_value;
mod redactions;
mod selection;
mod source;
mod table;
mod where_changed;

pub use as_of::{AsOf, AsOfRow, AsOfSelection, AsOfSql, Origin};
pub use as_of_many::AsOfRows;
pub use change::{Change, ChangeTransaction, Snapshot};
pub use history::{AllAsOf, AuditedDsl, Changes, History};
pub use key::{IntoKey, KeyPart};
pub use moment::{AsOfError, AsOfQuery, IsSelect, QueryAsOf, Settled, as_of_raw, settled};
pub use op::{Op, UnknownOp};
pub use recorded_value::{RecordedRow, RecordedValue};
pub use redactions::Redactions;
pub use selection::{ChangeSelection, Recorded, recorded};
pub use source::{ChangeFilter, OfRow, OfTable, Source};
pub use where_changed::{Anything, Exactly, Had, Side, WhereChanged, where_changed};

/// Columns of history queries, usable in `.filter`, `.order` and `.select` beside the model's own.
pub mod change_columns {
    pub use super::columns::*;
}
