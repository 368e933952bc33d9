//! Rows are told apart by their keys.

use super::*;

/// A row has one history through a rename of its key.
#[test]
fn key_columns_that_were_renamed() {
    let db = TestDb::new();
    db.create("CREATE TABLE things (no bigint PRIMARY KEY, label text)");
    db.capture("things", Definition::new("Thing", &["no"]));
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO things VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    );
    let before = clock(&mut app);
    db.create("ALTER TABLE things RENAME no TO id");
    db.capture(
        "things",
        Definition::new("Thing", &["id"]).columns_formerly(&[("id", "no")]),
    );
    execute(
        &mut app,
        "UPDATE things SET label = 'ONE' WHERE id = 1; DELETE FROM things WHERE id = 3",
    );
    let after = clock(&mut app);
    execute(&mut app, "UPDATE things SET label = 'late'");
    let thing = |id, label| json!({"id": id, "label": label});
    assert_eq!(
        table_at(&db, "things", before),
        [thing(1, "one"), thing(2, "two"), thing(3, "three")]
    );
    assert_eq!(
        table_at(&db, "things", after),
        [thing(1, "ONE"), thing(2, "two")]
    );
}

/// Keys of every kind are told apart.
#[test]
fn keys_of_several_columns_and_types() {
    let db = TestDb::new();
    db.create(
        "CREATE TYPE mood AS ENUM ('glad', 'sad');
         CREATE TABLE mixed (a text, b uuid, c mood, d date, e smallint, f char(3), n integer, PRIMARY KEY (a, b, c, d, e, f))",
    );
    db.capture(
        "mixed",
        Definition::new("Mixed", &["a", "b", "c", "d", "e", "f"]),
    );
    let mut app = db.app();
    execute(
        &mut app,
        "SET datestyle = 'German';
         INSERT INTO mixed SELECT a, md5('b')::uuid, c, d, e, 'x', 1
         FROM unnest('{A,a,\"x \\\"y\"}'::text[]) a, unnest('{glad,sad}'::mood[]) c, unnest('{2024-02-29,infinity}'::date[]) d, unnest('{1,2}'::smallint[]) e",
    );
    let then = rows(
        &mut app,
        "SELECT to_jsonb(m) AS row FROM mixed m ORDER BY to_jsonb(m)::text",
    );
    let moment = clock(&mut app);
    execute(
        &mut app,
        "UPDATE mixed SET n = 2 WHERE a = 'a'; DELETE FROM mixed WHERE a = 'A' AND e = 1",
    );
    let mut found: Vec<_> = table_at(&db, "mixed", moment);
    let mut then: Vec<_> = then.into_iter().map(|row| row["row"].clone()).collect();
    found.sort_by_key(ToString::to_string);
    then.sort_by_key(ToString::to_string);
    assert_eq!(found, then);
}

#[test]
fn two_keys_of_one_hash_are_two_rows() {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text NOT NULL)",
    );
    let collide = || {
        execute(
            &mut db.superuser(),
            "SET session_replication_role = replica; UPDATE audit_changes SET key_hash = (SELECT min(key_hash) FROM audit_changes)",
        );
    };
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a'), (2, 'b')");
    collide();
    let moment = clock(&mut db.app());
    let both = [json!({"id": 1, "name": "a"}), json!({"id": 2, "name": "b"})];
    assert_eq!(table_at(&db, "items", moment), both);
    // Both were changed since, under the hash of one of them.
    execute(&mut db.app(), "UPDATE items SET name = 'c'");
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica;
         UPDATE audit_changes SET key_hash = hashtextextended('{\"id\": \"1\"}', 0)",
    );
    let of_one_hash = format!(
        "SELECT * FROM threadline_moment(NULL::items, 'items', '{}') WHERE id = 1",
        moment.to_rfc3339()
    );
    for mut conn in [db.auditor(), db.app()] {
        assert_eq!(rows(&mut conn, &of_one_hash), both[..1]);
    }
}
