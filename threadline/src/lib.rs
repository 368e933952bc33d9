//! Audit for [Diesel](diesel) models on PostgreSQL: triggers record every row change inside the writer's own
//! transaction, the application adds who and why, and typed queries answer what happened.
//!
//! # The model in ten lines
//!
//! | word | table | meaning |
//! |---|---|---|
//! | change | `audit_changes` | one captured row change: table, key, operation, row after, changed fields, values before |
//! | transaction | `audit_transactions` | the database transaction that changes were part of, with its actor and context |
//! | action | `audit_actions` | what the application did and why, in its own words |
//! | commit | `audit_commits` | when a transaction committed |
//! | audited table | `audit_tables` | one entry for each table, through renames: its key, and since when it is known |
//!
//! A [capture plan](capture::CapturePlan) says how one table is captured. It comes from a model's attributes, is rendered
//! as SQL, and reaches the database as a migration.
//!
//! # A tour
//!
//! 1. Annotate a model with [`#[derive(Audited)]`](macro@Audited).
//! 2. List your models with [`models!`] and generate migrations: the crate `threadline-cli` is the command for it.
//! 3. Write inside [`transaction()`], or [`asynch::transaction`] with diesel-async; record [actions](record_action).
//! 4. Ask with [`history`](AuditedDsl::history), [`as_of`](AuditedDsl::as_of) and [`changes`](AuditedDsl::changes); across
//!    tables with [`timeline`], [`actor_history`], [`correlation_bundle`] and [`incident_bundle`]. [`where_changed`] finds
//!    a value, [`Change::diff`] says what a change did. Any query as of a moment is
//!    [`query.as_of(t)`](QueryAsOf::as_of).
//! 5. Say who may see what with a [`Scope`].
//! 6. Undo with [`revert_transaction_plan`]: preview, decide, apply.
//!
//! ```
//! # mod app {
//! diesel::table! {
//!     users (id) { id -> BigInt, email -> Text, ssn -> Nullable<Text>, }
//! }
//!
//! #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
//! #[diesel(table_name = users)]
//! #[audited(store_changed_from)]
//! pub struct User {
//!     pub id: i64,
//!     pub email: String,
//!     #[audited(mask)]
//!     pub ssn: Option<String>,
//! }
//! # }
//! # use app::{User, users};
//!
//! use diesel::{connection::LoadConnection, pg::Pg, prelude::*};
//! use threadline::{ActorRef, AuditContext, prelude::*};
//!
//! fn rename(conn: &mut impl LoadConnection<Backend = Pg>) -> Result<(), Box<dyn std::error::Error>> {
//!     let context = AuditContext::new(ActorRef::user("42")?);
//!     threadline::transaction(conn, &context, |conn| {
//!         diesel::update(users::table.find(1)).set(users::email.eq("new@x")).execute(conn)
//!     })?;
//!     let newest = User::history(1).first(conn)?;
//!     assert_eq!(newest.actor(), Some(&ActorRef::user("42")?));
//!     Ok(())
//! }
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `derive` | yes | [`#[derive(Audited)]`](macro@Audited) |
//! | `async` | | [`asynch`]: audited transactions with diesel-async |
//! | `migrations` | | [`MIGRATIONS`]: the audit schema, embedded |
//!
//! None of them links libpq: that is the application's choice of Diesel's features.

pub mod audited;
pub mod capture;
pub mod definition;
pub mod diff;
#[cfg(feature = "migrations")]
mod migrations;
pub mod query;
pub mod record;
pub mod revert;
pub mod schema;

pub use audited::Audited;
pub use definition::{Definition, Level, RequireActor, Truncate};
pub use diff::{
    BeforeValues, ChangeDiff, DiffInput, DiffOptions, FieldDiff, FieldKind, FieldValue, ModelDiff,
    RecordedChange, change_diff, diff_with_history,
};
#[cfg(feature = "migrations")]
pub use migrations::MIGRATIONS;
pub use query::change_columns as change;
pub use query::{
    AsOf, AsOfError, AsOfQuery, AuditAction, AuditChange, AuditTransaction, AuditedDsl, Change,
    ChangeCount, ChangeTransaction, CorrelationBundle, Cursor, CursorError, DecodeError,
    FilterError, IncidentBundle, List, Op, Origin, Page, PageError, QueryAsOf, RecordedRow,
    RecordedValue, Redactions, Scope, Snapshot, TimelineFilter, TransactionContext,
    TransactionSummary, actor_history, actor_timeline, as_of_raw, audit_changes_for_transaction,
    correlation_bundle, incident_bundle, recorded, settled, timeline, transaction_context,
    where_changed,
};
#[cfg(feature = "async")]
pub use record::asynch;
pub use record::{
    Action, ActionStatus, ActorError, ActorKind, ActorRef, AuditContext, ContextError,
    record_action, transaction, transaction_id,
};
pub use revert::{
    Conflict, ConflictKind, Decision, DecisionError, REVERT_ACTION, RevertError, RevertPlan,
    RevertSubject, Reverted, Statement, Step, StepKind, revert_transaction_plan,
};
#[cfg(feature = "derive")]
pub use threadline_derive::Audited;

/// What a module that reads history imports.
pub mod prelude {
    pub use crate::{Audited, AuditedDsl, QueryAsOf};
}
