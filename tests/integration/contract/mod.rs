//! The capture contract, clause by clause.
mod c14_settings;
mod c15_any_data;
mod c17_schema_change;
mod c18_commit;
mod c19_redaction;
mod c20_canary;
mod c21_refused_rules;
mod c22_isolation;
mod c23_attribution;
mod c25_one_transaction;
