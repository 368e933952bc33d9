//! What an investigation asks of one transaction, or of everything that shares an id.

mod bundle;
mod changes;
mod correlation;
mod id;

pub use bundle::{
    IncidentBundle, OfTransaction, TransactionContext, incident_bundle, transaction_context,
};
pub use changes::{TransactionChanges, audit_changes_for_transaction};
pub use correlation::{Correlated, CorrelationBundle, correlation_bundle};
