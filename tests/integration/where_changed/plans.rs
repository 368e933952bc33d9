//! What the conditions cost: which index serves them.

use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use threadline_tests::explain::{explain, goes_by};

use super::*;

/// 20,000 changes, one a second, of 5,000 rows, each with an address of its own.
fn large() -> &'static TestDb {
    static LARGE: OnceLock<TestDb> = OnceLock::new();
    LARGE.get_or_init(|| {
        let db = users(plain());
        execute(
            &mut db.superuser(),
            "SET session_replication_role = replica;
             INSERT INTO audit_changes (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk,
                                        data_after, changed_fields)
             SELECT n, hashtextextended(pk::text, 0), '2026-01-01Z'::timestamptz + n * interval '1 s', md5('t' || n)::uuid,
                    threadline_table('users'), 'public', 'users', CASE WHEN n <= 5000 THEN 'insert' ELSE 'update' END, pk,
                    jsonb_build_object('id', n % 5000, 'email', n || '@x', 'name', 'n'), CASE WHEN n > 5000 THEN '{email}'::text[] END
             FROM generate_series(1, 20000) n CROSS JOIN LATERAL (SELECT jsonb_build_object('id', (n % 5000)::text) AS pk) row;
             ANALYZE audit_changes",
        );
        db
    })
}

#[test]
fn a_window_goes_by_table_and_time() {
    let start: DateTime<Utc> = "2026-01-01T02:00:00Z".parse().unwrap();
    let query = User::changes()
        .filter(change::captured_at.between(start, start + TimeDelta::seconds(60)))
        .filter(where_changed(users::email).from("2300@x"))
        .select(change::id);
    goes_by(
        &mut large().auditor(),
        query,
        "audit_changes_table_time",
        100,
    );
}

#[test]
fn a_row_goes_by_its_key() {
    let query = User::history(7)
        .filter(where_changed(users::email).had("5007@x"))
        .select(change::id);
    goes_by(&mut large().auditor(), query, "audit_changes_key", 100);
}

/// The statement of cost, and of what the optional index does about it.
#[test]
fn without_the_optional_index_every_change_is_looked_at() {
    let query = || {
        User::changes()
            .filter(where_changed(users::email).to("12345@x"))
            .select(change::id)
    };
    let plan = explain(&mut large().auditor(), query());
    assert!(plan.most_rows() >= 20_000.0, "{plan}");

    // Rolled back, because other tests look at the same log.
    let mut owner = large().owner();
    execute(&mut owner, "BEGIN");
    execute(
        &mut owner,
        "CREATE INDEX audit_changes_data_after ON audit_changes USING gin (data_after jsonb_path_ops); ANALYZE audit_changes",
    );
    goes_by(&mut owner, query(), "audit_changes_data_after", 100);
    assert_eq!(query().load::<i64>(&mut owner).unwrap(), [12_345]);
    execute(&mut owner, "ROLLBACK");
}
