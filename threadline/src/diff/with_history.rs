//! A recorded change with the row before it, as earlier changes left it.

use chrono::{DateTime, Utc};
use diesel::deserialize::Queryable;
use diesel::dsl::AsSelect;
use diesel::expression::ValidGrouping;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz};
use uuid::Uuid;

use super::change_diff::{ChangeDiff, change_diff};
use super::input::DiffInput;
use super::options::DiffOptions;
use crate::query::{Op, RecordedRow, Redactions, Scope, push_asked, push_scope};

/// A change as it was recorded, of whatever table.
#[derive(Debug, Clone, PartialEq, Queryable)]
#[non_exhaustive]
pub struct RecordedChange {
    /// `audit_changes.id`.
    pub id: i64,
    /// The database transaction.
    pub transaction_id: Uuid,
    /// When the row was written, by the server's clock.
    pub captured_at: DateTime<Utc>,
    /// The table's schema, as it was called then.
    pub table_schema: String,
    /// The table, as it was called then.
    pub table_name: String,
    /// The key: every key column as text.
    pub table_pk: RecordedRow,
    /// What happened.
    pub op: Op,
    /// The columns that changed.
    pub changed_fields: Option<Vec<String>>,
    /// Values before the change.
    pub changed_from: Option<RecordedRow>,
    /// The row after the change.
    pub data_after: Option<RecordedRow>,
    /// The row before the change as earlier changes left it, for an update or a delete; `None` if the log doesn't reach back
    /// to one, or was interrupted since.
    pub earlier: Option<RecordedRow>,
    /// What stands for redacted values in all of them.
    pub redactions: Redactions,
}

impl RecordedChange {
    /// What the change did to each field; see [`change_diff`](super::change_diff).
    #[must_use]
    pub fn diff(&self, options: DiffOptions) -> ChangeDiff {
        change_diff(self, options)
    }
}

impl<'a> From<&'a RecordedChange> for DiffInput<'a> {
    fn from(change: &'a RecordedChange) -> Self {
        Self {
            op: change.op,
            changed_fields: change.changed_fields.as_deref(),
            before: change.changed_from.as_ref(),
            after: change.data_after.as_ref(),
            earlier: change.earlier.as_ref(),
            redactions: &change.redactions,
        }
    }
}

/// A query of exactly one [`RecordedChange`]; see [`diff_with_history`].
#[derive(Debug, Clone)]
#[must_use = "queries do nothing until they are loaded"]
pub struct RecordedChangeQuery {
    id: i64,
    scope: Option<Scope>,
}

impl RecordedChangeQuery {
    /// What may be seen: the change and what was before it, if the change is in scope. Otherwise the query's error is
    /// [`NotFound`](diesel::result::Error::NotFound), as for an id that no change has.
    ///
    /// # Examples
    ///
    /// ```
    /// use diesel::connection::LoadConnection;
    /// use diesel::{pg::Pg, prelude::*};
    /// use threadline::{RecordedChange, Scope, diff_with_history};
    ///
    /// fn of_tenant(
    ///     conn: &mut impl LoadConnection<Backend = Pg>,
    ///     id: i64,
    ///     tenant: i64,
    /// ) -> QueryResult<Option<RecordedChange>> {
    ///     let scope = Scope::field("tenant_id", tenant);
    ///     diff_with_history(id).scope(scope).get_result(conn).optional()
    /// }
    /// ```
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Everything may be seen, on purpose; see [`Scope::unscoped`].
    ///
    /// ```
    /// let query = threadline::diff_with_history(7).unscoped();
    /// ```
    pub fn unscoped(self) -> Self {
        self.scope(Scope::unscoped())
    }
}

/// The change with this id (`audit_changes.id`) and the row before it, looked up in earlier history: for tables that keep
/// no values before.
///
/// It costs one more step in the key index than the change alone. Where the log doesn't reach back, or capture was
/// switched off in between, the values before stay [`Omitted`](crate::FieldValue::Omitted).
///
/// # Examples
///
/// ```
/// use diesel::connection::LoadConnection;
/// use diesel::{pg::Pg, prelude::*};
/// use threadline::{ChangeDiff, DiffOptions, diff_with_history};
///
/// fn explained(conn: &mut impl LoadConnection<Backend = Pg>, id: i64) -> QueryResult<ChangeDiff> {
///     let change = diff_with_history(id).get_result(conn)?;
///     Ok(change.diff(DiffOptions::new()))
/// }
/// ```
pub fn diff_with_history(change_id: i64) -> RecordedChangeQuery {
    RecordedChangeQuery {
        id: change_id,
        scope: None,
    }
}

/// What the query selects.
type RecordedSql = (
    BigInt,
    diesel::sql_types::Uuid,
    Timestamptz,
    Text,
    Text,
    Jsonb,
    Text,
    Nullable<Array<Text>>,
    Nullable<Jsonb>,
    Nullable<Jsonb>,
    Nullable<Jsonb>,
    Jsonb,
);

/// The selection of a [`RecordedChange`]; only its type matters.
#[derive(Debug, Clone, Copy, QueryId)]
pub struct RecordedSelection;

impl Expression for RecordedSelection {
    type SqlType = RecordedSql;
}

impl ValidGrouping<()> for RecordedSelection {
    type IsAggregate = diesel::expression::is_aggregate::No;
}

impl Selectable<Pg> for RecordedChange {
    type SelectExpression = RecordedSelection;

    fn construct_selection() -> RecordedSelection {
        RecordedSelection
    }
}

impl Query for RecordedChangeQuery {
    // Through a selection of its own, so that `.get_result(conn)` infers the type.
    type SqlType = AsSelect<RecordedChange, Pg>;
}

impl QueryId for RecordedChangeQuery {
    type QueryId = ();
    // The text depends on the scope.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Conn> RunQueryDsl<Conn> for RecordedChangeQuery {}

impl QueryFragment<Pg> for RecordedChangeQuery {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT c.id, c.transaction_id, c.captured_at, c.table_schema, c.table_name, c.table_pk, c.op, \
             c.changed_fields, c.changed_from, c.data_after, threadline_earlier(c), t.redacted \
             FROM audit_changes AS c JOIN audit_tables AS t ON t.id = c.table_id WHERE c.id = (SELECT CASE WHEN ",
        );
        // Before the change is looked for: a read that is refused must not depend on what exists.
        push_asked(&self.scope, &mut out, None, None)?;
        out.push_sql(" THEN ");
        out.push_bind_param::<BigInt, _>(&self.id)?;
        out.push_sql(" END)");
        push_scope(&self.scope, &mut out, "c")
    }
}
