// @generated automatically by Diesel CLI.

pub mod sql_types {
    #[derive(diesel::query_builder::QueryId, Debug, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "invoice_status"))]
    pub struct InvoiceStatus;
}

diesel::table! {
    customers (id) {
        id -> Int8,
        name -> Text,
        email -> Text,
        tax_id -> Nullable<Text>,
        password_hash -> Text,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    invoice_lines (invoice_id, position) {
        invoice_id -> Int8,
        position -> Int4,
        text -> Text,
        amount -> Numeric,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::InvoiceStatus;

    invoices (id) {
        id -> Int8,
        customer_id -> Int8,
        total -> Numeric,
        status -> InvoiceStatus,
    }
}

diesel::joinable!(invoice_lines -> invoices (invoice_id));
diesel::joinable!(invoices -> customers (customer_id));

diesel::allow_tables_to_appear_in_same_query!(customers, invoice_lines, invoices,);
