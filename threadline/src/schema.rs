//! Diesel tables of the audit log, as `diesel print-schema` would write them.
//!
//! They are plain tables: query them with Diesel or SQL like your own. `search_path` finds them when the storage schema
//! isn't `public`.
#![allow(missing_docs, unreachable_pub)]

/// SQL types that Diesel has no name for.
pub mod sql_types {
    /// A 64-bit transaction id.
    #[derive(Debug, Clone, Copy, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(oid = 5069, array_oid = 271))]
    pub struct Xid8;
}

diesel::table! {
    /// One row for each captured row change.
    audit_changes (id) {
        id -> BigInt,
        key_hash -> BigInt,
        captured_at -> Timestamptz,
        transaction_id -> Uuid,
        table_id -> Integer,
        table_schema -> Text,
        table_name -> Text,
        op -> Text,
        table_pk -> Jsonb,
        data_after -> Nullable<Jsonb>,
        changed_fields -> Nullable<Array<Text>>,
        changed_from -> Nullable<Jsonb>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::Xid8;

    /// One row for each database transaction in which something was captured.
    audit_transactions (id) {
        id -> Uuid,
        txid -> Xid8,
        occurred_at -> Timestamptz,
        source -> Nullable<Text>,
        meta -> Nullable<Jsonb>,
        actor_ref -> Nullable<Jsonb>,
        action_id -> Nullable<Uuid>,
        request_id -> Nullable<Text>,
        correlation_id -> Nullable<Text>,
        job_id -> Nullable<Text>,
        session_user_name -> Text,
        role_name -> Nullable<Text>,
        application_name -> Nullable<Text>,
        client_address -> Nullable<Inet>,
    }
}

diesel::table! {
    /// What the application did and why.
    audit_actions (id) {
        id -> Uuid,
        transaction_id -> Uuid,
        name -> Text,
        actor_ref -> Nullable<Jsonb>,
        status -> Text,
        verb -> Nullable<Text>,
        category -> Nullable<Text>,
        reason -> Nullable<Text>,
        comment -> Nullable<Text>,
        correlation_id -> Nullable<Text>,
        request_id -> Nullable<Text>,
        job_id -> Nullable<Text>,
        requires_changes -> Bool,
        inserted_at -> Timestamptz,
        session_user_name -> Text,
        role_name -> Nullable<Text>,
    }
}

diesel::table! {
    /// When each transaction committed; the newest row of a transaction counts.
    audit_commits (transaction_id, committed_at) {
        transaction_id -> Uuid,
        occurred_at -> Timestamptz,
        committed_at -> Timestamptz,
    }
}

diesel::table! {
    /// One row for each table that is or was audited.
    audit_tables (id) {
        id -> Integer,
        table_schema -> Text,
        table_name -> Text,
        former_names -> Array<Text>,
        key_columns -> Array<Text>,
        installed_at -> Nullable<Timestamptz>,
        horizon -> Nullable<Timestamptz>,
        fingerprint -> Text,
        function_version -> Integer,
        gaps -> Array<Range<Timestamptz>>,
        redacted -> Jsonb,
        former_columns -> Jsonb,
        added_columns -> Jsonb,
        rules -> Nullable<Jsonb>,
        on_change -> Array<Text>,
        identity -> Jsonb,
    }
}

diesel::joinable!(audit_changes -> audit_transactions (transaction_id));
diesel::joinable!(audit_actions -> audit_transactions (transaction_id));
diesel::joinable!(audit_commits -> audit_transactions (transaction_id));
diesel::joinable!(audit_changes -> audit_tables (table_id));
diesel::allow_tables_to_appear_in_same_query!(
    audit_changes,
    audit_transactions,
    audit_actions,
    audit_commits,
    audit_tables,
);
