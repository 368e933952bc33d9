//! Columns of history queries, usable beside the model's own.

use diesel::expression::{
    AppearsOnTable, IsContainedInGroupBy, SelectableExpression, ValidGrouping, is_aggregate,
    is_contained_in_group_by as contains,
};
use diesel::internal::table_macro::FromClause;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz, Uuid};

use super::source::Source;

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $sql:literal;)*) => { $(
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, Default, QueryId)]
        pub struct $name;

        impl Expression for $name {
            type SqlType = $type;
        }
        impl<M, F> AppearsOnTable<Source<M, F>> for $name {}
        // What Diesel asks of the expression of a GROUP BY.
        impl<M, F> AppearsOnTable<FromClause<Source<M, F>>> for $name where Source<M, F>: QuerySource {}
        impl<M, F> SelectableExpression<Source<M, F>> for $name {}
        impl ValidGrouping<()> for $name {
            type IsAggregate = is_aggregate::No;
        }
        impl<G> ValidGrouping<G> for $name
        where
            G: IsContainedInGroupBy<$name, Output = contains::Yes>,
        {
            type IsAggregate = is_aggregate::Yes;
        }
        impl IsContainedInGroupBy<$name> for $name {
            type Output = contains::Yes;
        }
        impl QueryFragment<Pg> for $name {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                out.push_sql($sql);
                Ok(())
            }
        }
    )* };
}

columns! {
    /// `audit_changes.id`.
    id: BigInt = "tl_c.id";
    /// `audit_changes.transaction_id`.
    transaction_id: Uuid = "tl_c.transaction_id";
    /// `audit_changes.op`; compare it with [`Op`](crate::Op).
    op: Text = "tl_c.op";
    /// `audit_changes.table_pk`.
    table_pk: Jsonb = "tl_c.table_pk";
    /// `audit_changes.changed_fields`.
    changed_fields: Nullable<Array<Text>> = "tl_c.changed_fields";
    /// `audit_changes.changed_from`.
    changed_from: Nullable<Jsonb> = "tl_c.changed_from";
    /// `audit_changes.data_after`.
    data_after: Nullable<Jsonb> = "tl_c.data_after";
    /// The values after the change: of an update those of the changed columns, of an insert all.
    changed_to: Nullable<Jsonb> = "CASE WHEN tl_c.op <> 'update' THEN tl_c.data_after ELSE (\
         SELECT coalesce(jsonb_object_agg(f, tl_c.data_after -> f), '{}') \
         FROM unnest(tl_c.changed_fields) AS f WHERE tl_c.data_after ? f) END";
    /// `audit_tables.redacted`.
    redactions: Jsonb = "coalesce((SELECT tl_g.redacted FROM audit_tables AS tl_g WHERE tl_g.id = tl_c.table_id), '{}')";
    /// `audit_changes.captured_at`.
    captured_at: Timestamptz = "tl_c.captured_at";
    /// The columns that are redacted in this change.
    redacted: Array<Text> = "tl_r.redacted";
    /// The columns whose value was too large for the log.
    omitted: Array<Text> = "tl_r.omitted";
    /// `audit_transactions.occurred_at`.
    occurred_at: Nullable<Timestamptz> = "tl_t.occurred_at";
    /// `audit_transactions.actor_ref`; compare it with [`ActorRef`](crate::ActorRef).
    actor_ref: Nullable<Jsonb> = "tl_t.actor_ref";
    /// `audit_transactions.action_id`.
    action_id: Nullable<Uuid> = "tl_t.action_id";
    /// `audit_transactions.source`.
    source: Nullable<Text> = "tl_t.source";
    /// `audit_transactions.request_id`.
    request_id: Nullable<Text> = "tl_t.request_id";
    /// `audit_transactions.correlation_id`.
    correlation_id: Nullable<Text> = "tl_t.correlation_id";
    /// `audit_transactions.job_id`.
    job_id: Nullable<Text> = "tl_t.job_id";
    /// `audit_transactions.meta`.
    meta: Nullable<Jsonb> = "tl_t.meta";
}

/// The columns of the change in a [`Change`](crate::Change).
pub type ChangeColumns = (
    id,
    transaction_id,
    op,
    changed_fields,
    changed_from,
    changed_to,
    redactions,
    captured_at,
    redacted,
    omitted,
);
/// The types of [`ChangeColumns`].
pub type ChangeSql = <ChangeColumns as Expression>::SqlType;

/// The columns of the transaction in a [`Change`](crate::Change).
pub type TransactionColumns = (
    occurred_at,
    actor_ref,
    action_id,
    source,
    request_id,
    correlation_id,
    job_id,
);
/// The types of [`TransactionColumns`].
pub type TransactionSql = <TransactionColumns as Expression>::SqlType;
