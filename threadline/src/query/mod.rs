//! The typed read path: Diesel queries as values.

mod actor_history;
mod answer;
mod as_of;
mod as_of_rows;
mod change;
mod columns;
mod decode_error;
mod entry;
mod history;
mod incident;
mod key;
mod list;
mod moment;
mod op;
mod page;
mod push;
mod recorded_value;
mod redactions;
mod scope;
mod scoped;
mod selection;
mod source;
mod table;
mod timeline;
mod walk;
mod where_changed;

pub use actor_history::{ActorHistory, actor_history};
pub(crate) use answer::selectable;
pub use answer::{Answer, AnswerRow};
pub use as_of::{AsOf, AsOfSql, Origin};
pub use as_of_rows::{AsOfKeys, AsOfRow, AsOfRows, Keys, ManyKeys, OneKey};
pub use change::{Change, ChangeTransaction, Snapshot};
pub use decode_error::DecodeError;
pub use entry::{
    ActionRecord, AuditAction, AuditChange, AuditTransaction, ChangeCount, ChangeRecord,
    CountRecord, SummaryRecord, TransactionRecord, TransactionSummary,
};
pub use history::{AllAsOf, AuditedDsl, Changes, History};
pub use incident::{
    Correlated, CorrelationBundle, IncidentBundle, OfTransaction, TransactionChanges,
    TransactionContext, audit_changes_for_transaction, correlation_bundle, incident_bundle,
    transaction_context,
};
pub use key::{IntoKey, KeyPart};
pub use list::{List, Listing};
pub use moment::{AsOfError, AsOfQuery, IsSelect, QueryAsOf, Settled, as_of_raw, settled};
pub use op::{Op, UnknownOp};
pub use page::{Cursor, CursorError, Entry, Page, PageError, PageSql, Position};
pub use recorded_value::{RecordedRow, RecordedValue};
pub use redactions::Redactions;
pub use scope::Scope;
pub(crate) use scope::{push_asked, push_scope};
pub use scoped::{InScope, Reads, ScopedHistory};
pub use selection::{ChangeSelection, Recorded, recorded};
pub use source::{ChangeFilter, OfRow, OfTable, Source};
pub use timeline::{FilterError, Timeline, TimelineFilter, actor_timeline, timeline};
pub use walk::Walk;
pub use where_changed::{Anything, Exactly, Had, Side, WhereChanged, where_changed};

/// Columns of history queries, usable in `.filter`, `.order` and `.select` beside the model's own.
pub mod change_columns {
    pub use super::columns::*;
}
