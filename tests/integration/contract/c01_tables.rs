use diesel::prelude::*;
use serde_json::{Value, json};
use threadline_tests::{TestDb, execute, rows, value};

/// The columns of an audit table, each with its type and whether it has to have a value.
fn columns(table: &str) -> Vec<String> {
    rows(
        &mut TestDb::new().auditor(),
        &format!(
            "SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN '!' END) AS column
             FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attname"
        ),
    )
    .into_iter()
    .map(|row| row["column"].as_str().unwrap().to_owned())
    .collect()
}

#[test]
fn c01_there_are_five_tables() {
    let tables = value(
        &mut TestDb::new().auditor(),
        "SELECT array_agg(relname ORDER BY relname) FROM pg_class WHERE relname LIKE 'audit\\_%' AND relkind IN ('r', 'p')",
    );
    assert_eq!(
        tables,
        json!([
            "audit_actions",
            "audit_changes",
            "audit_commits",
            "audit_tables",
            "audit_transactions"
        ])
    );
}

#[test]
fn c01_changes() {
    assert_eq!(
        columns("audit_changes"),
        [
            "captured_at timestamp with time zone !",
            "changed_fields text[]",
            "changed_from jsonb",
            "data_after jsonb",
            "id bigint !",
            "key_hash bigint !",
            "op text !",
            "table_id integer !",
            "table_name text !",
            "table_pk jsonb !",
            "table_schema text !",
            "transaction_id uuid !",
        ]
    );
}

#[test]
fn c01_transactions() {
    assert_eq!(
        columns("audit_transactions"),
        [
            "action_id uuid",
            "actor_ref jsonb",
            "application_name text",
            "client_address inet",
            "correlation_id text",
            "id uuid !",
            "job_id text",
            "meta jsonb",
            "occurred_at timestamp with time zone !",
            "request_id text",
            "role_name text",
            "session_user_name text !",
            "source text",
            "txid xid8 !",
        ]
    );
}

#[test]
fn c01_actions() {
    assert_eq!(
        columns("audit_actions"),
        [
            "actor_ref jsonb",
            "category text",
            "comment text",
            "correlation_id text",
            "id uuid !",
            "inserted_at timestamp with time zone !",
            "job_id text",
            "name text !",
            "reason text",
            "request_id text",
            "requires_changes boolean !",
            "role_name text",
            "session_user_name text !",
            "status text !",
            "transaction_id uuid !",
            "verb text",
        ]
    );
}

#[test]
fn c01_commits() {
    assert_eq!(
        columns("audit_commits"),
        [
            "committed_at timestamp with time zone !",
            "occurred_at timestamp with time zone !",
            "transaction_id uuid !",
        ]
    );
}

#[test]
fn c01_tables_has_one_row_for_each_audited_table() {
    let db = TestDb::new();
    db.create("CREATE SCHEMA billing");
    db.audited("items", "CREATE TABLE items (id bigint PRIMARY KEY)");
    db.audited(
        "billing.items",
        "CREATE TABLE billing.items (id bigint PRIMARY KEY)",
    );
    db.capture("items", threadline::Definition::new("Item", &["id"]));
    let tables = rows(
        &mut db.auditor(),
        "SELECT table_schema, table_name, former_names, key_columns, function_version, length(fingerprint) AS fingerprint,
                installed_at IS NOT NULL AS installed, horizon IS NOT NULL AS known
         FROM audit_tables ORDER BY id",
    );
    let expected = ["public", "billing"].map(|schema| {
        json!({"table_schema": schema, "table_name": "items", "former_names": [], "key_columns": ["id"],
               "function_version": 1, "fingerprint": 16, "installed": true, "known": true})
    });
    assert_eq!(tables, expected);
}

#[test]
fn c01_what_the_server_knows_of_the_writer_cannot_be_claimed() {
    let db = TestDb::new();
    db.audited("items", "CREATE TABLE items (id bigint PRIMARY KEY)");
    // A member of the application's role, whose rights it takes. A role of the test's own would be one of all databases.
    let mut operator = PgConnection::establish(&db.url("tl_operator")).unwrap();
    execute(
        &mut operator,
        "SET application_name = 'worker'; SET ROLE tl_app; SET threadline.session_user_name = 'somebody else';
         INSERT INTO items VALUES (1)",
    );
    let transaction = rows(
        &mut db.auditor(),
        "SELECT session_user_name, role_name, application_name, client_address FROM audit_transactions",
    );
    // Through a Unix socket there is no address.
    assert_eq!(
        transaction,
        [
            json!({"session_user_name": "tl_operator", "role_name": "tl_app", "application_name": "worker", "client_address": null})
        ]
    );
}

/// The queries that an operator types, as the two founding documents have them, but for the values asked for.
#[test]
fn c01_the_recipes_run() {
    let db = TestDb::new();
    db.audited(
        "users",
        "CREATE TABLE users (id bigint PRIMARY KEY, email text)",
    );
    let mut app = db.app();
    execute(
        &mut app,
        r#"BEGIN; SELECT set_config('threadline.actor_ref', '{"type":"service_account","id":"service-acct-uuid"}', true);
           SELECT threadline_record_action_v1('user.imported', job_id => 'job-1', correlation_id => 'corr-1');
           INSERT INTO users VALUES (123, 'a@x'), (124, 'b@x'); UPDATE users SET email = 'c@x' WHERE id = 123; COMMIT"#,
    );
    let mut auditor = db.auditor();
    let of_the_row = "ac.table_name = 'users' AND ac.table_pk @> '{\"id\":\"123\"}'::jsonb
        AND ac.captured_at >= now() - interval '1 hour' AND ac.captured_at <= now()";
    let actor = json!({"type": "service_account", "id": "service-acct-uuid"});

    let row = rows(
        &mut auditor,
        &format!(
            "SELECT ac.id, ac.table_name, ac.table_pk, ac.op, ac.changed_fields, ac.changed_from, ac.data_after, ac.captured_at, at.actor_ref
             FROM audit_changes ac JOIN audit_transactions at ON at.id = ac.transaction_id
             WHERE {of_the_row} ORDER BY ac.captured_at DESC, ac.id DESC"
        ),
    );
    let ops: Vec<_> = row.iter().map(|change| &change["op"]).collect();
    assert_eq!(ops, ["update", "insert"]);
    assert_eq!(row[0]["actor_ref"], actor);
    assert_eq!(row[0]["changed_from"], json!({"email": "a@x"}));

    let of_the_actor = rows(
        &mut auditor,
        r#"SELECT at.id AS transaction_id, at.occurred_at, ac.table_name, ac.table_pk, ac.op, ac.changed_fields, ac.changed_from, ac.data_after
           FROM audit_transactions at JOIN audit_changes ac ON ac.transaction_id = at.id
           WHERE at.actor_ref @> '{"type":"service_account","id":"service-acct-uuid"}'::jsonb
             AND at.occurred_at >= now() - interval '1 day'
           ORDER BY at.occurred_at DESC, ac.captured_at DESC, ac.id DESC"#,
    );
    assert_eq!(of_the_actor.len(), 3);

    let transaction = of_the_actor[0]["transaction_id"].as_str().unwrap();
    let of_the_transaction = rows(
        &mut auditor,
        &format!(
            "SELECT ac.id, ac.table_name, ac.table_pk, ac.op, ac.changed_fields, ac.changed_from, ac.data_after, aa.job_id, aa.correlation_id
             FROM audit_changes ac JOIN audit_transactions at ON at.id = ac.transaction_id
             LEFT JOIN audit_actions aa ON aa.id = at.action_id
             WHERE ac.transaction_id = '{transaction}'::uuid ORDER BY ac.captured_at DESC, ac.id DESC"
        ),
    );
    assert_eq!(of_the_transaction.len(), 3);
    assert_eq!(of_the_transaction[0]["job_id"], "job-1");
    assert_eq!(of_the_transaction[0]["correlation_id"], "corr-1");

    let as_of = rows(
        &mut auditor,
        &format!(
            "SELECT ac.op, ac.data_after, ac.changed_fields, ac.changed_from, ac.captured_at FROM audit_changes ac
             WHERE {of_the_row} ORDER BY ac.captured_at ASC, ac.id ASC"
        ),
    );
    let emails: Vec<&Value> = as_of
        .iter()
        .map(|change| &change["data_after"]["email"])
        .collect();
    assert_eq!(emails, ["a@x", "c@x"]);
}
