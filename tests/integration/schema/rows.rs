//! Rows of the log, through typed models.

use std::ops::Bound;

use chrono::{DateTime, TimeZone, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::sql_types::Inet;
use serde_json::{Value, json};
use threadline::schema::sql_types::Xid8;
use threadline::schema::{
    audit_actions, audit_changes, audit_commits, audit_tables, audit_transactions,
};
use threadline::{ActionStatus, ActorRef, Op};
use threadline_tests::{TestDb, execute, value};
use uuid::Uuid;

/// A transaction id as an application would load it.
#[derive(Debug, PartialEq, FromSqlRow)]
struct Txid(u64);

impl FromSql<Xid8, Pg> for Txid {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(u64::from_be_bytes(value.as_bytes().try_into()?)))
    }
}

/// An address, as the last bytes of its binary form: Diesel has a type for it behind a feature.
#[derive(Debug, PartialEq, FromSqlRow)]
struct Ipv4([u8; 4]);

impl FromSql<Inet, Pg> for Ipv4 {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let (_, address) = value.as_bytes().split_at(4);
        Ok(Self(address.try_into()?))
    }
}

#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = audit_changes, check_for_backend(Pg))]
struct Change {
    id: i64,
    key_hash: i64,
    captured_at: DateTime<Utc>,
    transaction_id: Uuid,
    table_id: i32,
    table_schema: String,
    table_name: String,
    op: Op,
    table_pk: Value,
    data_after: Option<Value>,
    changed_fields: Option<Vec<String>>,
    changed_from: Option<Value>,
}

#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = audit_transactions, check_for_backend(Pg))]
struct Transaction {
    id: Uuid,
    txid: Txid,
    occurred_at: DateTime<Utc>,
    source: Option<String>,
    meta: Option<Value>,
    actor_ref: Option<ActorRef>,
    action_id: Option<Uuid>,
    request_id: Option<String>,
    correlation_id: Option<String>,
    job_id: Option<String>,
    session_user_name: String,
    role_name: Option<String>,
    application_name: Option<String>,
    client_address: Option<Ipv4>,
}

#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = audit_actions, check_for_backend(Pg))]
struct Action {
    id: Uuid,
    transaction_id: Uuid,
    name: String,
    actor_ref: Option<ActorRef>,
    status: ActionStatus,
    verb: Option<String>,
    category: Option<String>,
    reason: Option<String>,
    comment: Option<String>,
    correlation_id: Option<String>,
    request_id: Option<String>,
    job_id: Option<String>,
    requires_changes: bool,
    inserted_at: DateTime<Utc>,
}

#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = audit_commits, check_for_backend(Pg))]
struct Commit {
    transaction_id: Uuid,
    occurred_at: DateTime<Utc>,
    committed_at: DateTime<Utc>,
}

/// An interval without capture.
type Gap = (Bound<DateTime<Utc>>, Bound<DateTime<Utc>>);

#[derive(Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = audit_tables, check_for_backend(Pg))]
struct AuditedTable {
    id: i32,
    table_schema: String,
    table_name: String,
    former_names: Vec<String>,
    key_columns: Vec<String>,
    installed_at: Option<DateTime<Utc>>,
    horizon: Option<DateTime<Utc>>,
    fingerprint: String,
    function_version: i32,
    gaps: Vec<Gap>,
    redacted: Value,
    former_columns: Value,
    added_columns: Value,
    rules: Option<Value>,
    on_change: Vec<String>,
    identity: Value,
}

/// A row of each table in which nothing is NULL, stored as a restore would: the seal isn't to add a commit.
const SAMPLES: &str = "
    SET session_replication_role = replica;
    SET timezone = 'UTC';
    INSERT INTO audit_tables VALUES (7, 's', 'users', '{people,folk}', '{id,tenant}', '2026-01-01', '2026-01-02',
        'abc', 1, '{\"[2026-01-03,2026-01-04)\",\"[2026-01-05,)\"}', '{\"r\": [\"x\"]}', '{\"f\": [\"y\"]}', '{\"a\": 1}',
        '{\"key\": [\"id\"]}', '{body}', '{\"relation\": 1}');
    INSERT INTO audit_transactions VALUES ('00000000-0000-0000-0000-000000000001', '18446744073709551615', '2026-02-01',
        'src', '{\"m\": 1}', '{\"type\": \"user\", \"id\": \"42\"}', '00000000-0000-0000-0000-000000000002', 'req',
        'cor', 'job', 'su', 'ro', 'app', '192.0.2.1');
    INSERT INTO audit_changes VALUES (3, -9, '2026-02-02', '00000000-0000-0000-0000-000000000001', 7, 's', 'users',
        'update', '{\"id\": \"1\"}', '{\"id\": 1}', '{email,name}', '{\"name\": \"b\"}');
    INSERT INTO audit_actions VALUES ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000001',
        'n', '{\"type\": \"anonymous\"}', 'error', 've', 'ca', 're', 'co', 'cor', 'req', 'job', true, '2026-02-03', 'su', 'ro');
    INSERT INTO audit_commits VALUES ('00000000-0000-0000-0000-000000000001', '2026-02-01', '2026-02-04');";

fn day(month: u32, day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, month, day, 0, 0, 0).unwrap()
}

#[test]
fn every_column_loads_what_is_stored() {
    let db = TestDb::new();
    execute(&mut db.superuser(), SAMPLES);
    let conn = &mut db.auditor();

    let table = audit_tables::table.select(AuditedTable::as_select());
    assert_eq!(
        table.load(conn).unwrap(),
        [AuditedTable {
            id: 7,
            table_schema: "s".into(),
            table_name: "users".into(),
            former_names: vec!["people".into(), "folk".into()],
            key_columns: vec!["id".into(), "tenant".into()],
            installed_at: Some(day(1, 1)),
            horizon: Some(day(1, 2)),
            fingerprint: "abc".into(),
            function_version: 1,
            gaps: vec![
                (Bound::Included(day(1, 3)), Bound::Excluded(day(1, 4))),
                (Bound::Included(day(1, 5)), Bound::Unbounded),
            ],
            redacted: json!({"r": ["x"]}),
            former_columns: json!({"f": ["y"]}),
            added_columns: json!({"a": 1}),
            rules: Some(json!({"key": ["id"]})),
            on_change: vec!["body".to_owned()],
            identity: json!({"relation": 1}),
        }]
    );
    let transaction = audit_transactions::table.select(Transaction::as_select());
    assert_eq!(
        transaction.load(conn).unwrap(),
        [Transaction {
            id: Uuid::from_u128(1),
            txid: Txid(u64::MAX),
            occurred_at: day(2, 1),
            source: Some("src".into()),
            meta: Some(json!({"m": 1})),
            actor_ref: Some(ActorRef::user(42).unwrap()),
            action_id: Some(Uuid::from_u128(2)),
            request_id: Some("req".into()),
            correlation_id: Some("cor".into()),
            job_id: Some("job".into()),
            session_user_name: "su".into(),
            role_name: Some("ro".into()),
            application_name: Some("app".into()),
            client_address: Some(Ipv4([192, 0, 2, 1])),
        }]
    );
    let change = audit_changes::table.select(Change::as_select());
    assert_eq!(
        change.load(conn).unwrap(),
        [Change {
            id: 3,
            key_hash: -9,
            captured_at: day(2, 2),
            transaction_id: Uuid::from_u128(1),
            table_id: 7,
            table_schema: "s".into(),
            table_name: "users".into(),
            op: Op::Update,
            table_pk: json!({"id": "1"}),
            data_after: Some(json!({"id": 1})),
            changed_fields: Some(vec!["email".into(), "name".into()]),
            changed_from: Some(json!({"name": "b"})),
        }]
    );
    let action = audit_actions::table.select(Action::as_select());
    assert_eq!(
        action.load(conn).unwrap(),
        [Action {
            id: Uuid::from_u128(2),
            transaction_id: Uuid::from_u128(1),
            name: "n".into(),
            actor_ref: Some(ActorRef::anonymous()),
            status: ActionStatus::Error,
            verb: Some("ve".into()),
            category: Some("ca".into()),
            reason: Some("re".into()),
            comment: Some("co".into()),
            correlation_id: Some("cor".into()),
            request_id: Some("req".into()),
            job_id: Some("job".into()),
            requires_changes: true,
            inserted_at: day(2, 3),
        }]
    );
    let commit = audit_commits::table.select(Commit::as_select());
    assert_eq!(
        commit.load(conn).unwrap(),
        [Commit {
            transaction_id: Uuid::from_u128(1),
            occurred_at: day(2, 1),
            committed_at: day(2, 4),
        }]
    );
}

#[test]
fn tables_join_by_what_refers_to_what() {
    let db = TestDb::new();
    execute(&mut db.superuser(), SAMPLES);
    let joined = audit_changes::table
        .inner_join(audit_transactions::table)
        .inner_join(audit_tables::table)
        .inner_join(
            audit_actions::table
                .on(audit_actions::transaction_id.eq(audit_changes::transaction_id)),
        )
        .inner_join(
            audit_commits::table
                .on(audit_commits::transaction_id.eq(audit_changes::transaction_id)),
        )
        .select((
            audit_changes::id,
            audit_transactions::source,
            audit_tables::table_name,
            audit_actions::name,
            audit_commits::committed_at,
        ))
        .load::<(i64, Option<String>, String, String, DateTime<Utc>)>(&mut db.auditor())
        .unwrap();
    let expected = (3, Some("src".into()), "users".into(), "n".into(), day(2, 4));
    assert_eq!(joined, [expected]);
}

/// What the log writes itself fits the same types.
#[test]
fn every_table_loads_what_capture_wrote() {
    let db = TestDb::new();
    db.audited(
        "notes",
        "CREATE TABLE notes (id bigint PRIMARY KEY, body text)",
    );
    execute(
        &mut db.app(),
        "SELECT threadline_record_action_v1('noted');
         INSERT INTO notes VALUES (1, 'a'); UPDATE notes SET body = 'b'; DELETE FROM notes",
    );
    let conn = &mut db.auditor();
    let changes = audit_changes::table
        .order(audit_changes::id)
        .select(Change::as_select())
        .load(conn)
        .unwrap();
    let ops: Vec<_> = changes.iter().map(|change| change.op).collect();
    assert_eq!(ops, [Op::Insert, Op::Update, Op::Delete]);

    let transaction = audit_transactions::table
        .select(Transaction::as_select())
        .get_result(conn)
        .unwrap();
    assert_eq!(changes[0].transaction_id, transaction.id);
    assert_eq!(transaction.client_address, None, "through a socket");
    let txid = value(conn, "SELECT txid::text FROM audit_transactions");
    assert_eq!(txid, json!(transaction.txid.0.to_string()));

    let action = audit_actions::table
        .select(Action::as_select())
        .get_result(conn)
        .unwrap();
    assert_eq!(Some(action.id), transaction.action_id);
    let commit = audit_commits::table
        .select(Commit::as_select())
        .get_result(conn)
        .unwrap();
    assert_eq!(commit.transaction_id, transaction.id);
    assert_eq!(commit.occurred_at, transaction.occurred_at);
    let table = audit_tables::table
        .select(AuditedTable::as_select())
        .get_result(conn)
        .unwrap();
    assert_eq!(
        (table.id, table.key_columns),
        (changes[0].table_id, vec!["id".to_owned()])
    );
}
