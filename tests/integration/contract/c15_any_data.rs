//! C15: capture never aborts the user's write because of the data.

use serde_json::{Value, json};
use threadline::Definition;
use threadline_tests::{TestDb, execute, rows, value};

/// The images of all changes, in order.
fn images(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.auditor(),
        "SELECT op, data_after, changed_fields, changed_from FROM audit_changes ORDER BY id",
    )
}

/// What stands for a value that is left out, computed by the server from the value itself.
fn omitted(db: &TestDb, bytea: &str) -> Value {
    value(
        &mut db.auditor(),
        &format!(
            "SELECT jsonb_build_object('$threadline', 'omitted', 'bytes', octet_length(v), 'sha256', encode(sha256(v), 'hex'))
             FROM (SELECT ({bytea}) AS v) q"
        ),
    )
}

/// Text that doesn't compress.
const NOISE: &str = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 40000) i)";

#[test]
fn c15_json_that_jsonb_cannot_hold_is_kept_as_text() {
    let db = TestDb::new();
    db.audited(
        "docs",
        "CREATE TYPE boxed AS (doc json);
         CREATE TABLE docs (id int PRIMARY KEY, doc json, docs json[], boxed boxed, note text, good json)",
    );
    let mut app = db.app();
    for (id, doc) in [(1, r#"{"a": "\u0000"}"#), (2, "1e200000")] {
        execute(
            &mut app,
            &format!(
                "INSERT INTO docs VALUES ({id}, '{doc}', ARRAY['{doc}']::json[], ROW('{doc}')::boxed, 'n', '{{\"b\": 1}}')"
            ),
        );
        let image = images(&db).pop().unwrap()["data_after"].take();
        assert_eq!(image["doc"], doc);
        assert_eq!(
            image["docs"],
            value(
                &mut app,
                &format!("SELECT docs::text FROM docs WHERE id = {id}")
            )
        );
        assert_eq!(
            image["boxed"],
            value(
                &mut app,
                &format!("SELECT boxed::text FROM docs WHERE id = {id}")
            )
        );
        // The rest of the row as usual.
        assert_eq!(
            [&image["id"], &image["note"], &image["good"]],
            [&json!(id), &json!("n"), &json!({"b": 1})]
        );
    }
    execute(&mut app, "UPDATE docs SET note = 'm' WHERE id = 1");
    let update = images(&db).pop().unwrap();
    assert_eq!(update["changed_fields"], json!(["note"]));
    assert_eq!(update["changed_from"], json!({"note": "n"}));
    execute(&mut app, r#"UPDATE docs SET doc = '"fine"' WHERE id = 1"#);
    let update = images(&db).pop().unwrap();
    assert_eq!(update["changed_fields"], json!(["doc"]));
    assert_eq!(update["changed_from"], json!({"doc": r#"{"a": "\u0000"}"#}));
    assert_eq!(update["data_after"]["doc"], "fine");
    execute(&mut app, "DELETE FROM docs WHERE id = 2");
    assert_eq!(
        images(&db).pop().unwrap()["changed_from"]["doc"],
        "1e200000"
    );
}

#[test]
fn c15_a_value_above_the_limit_is_omitted_with_its_size_and_digest() {
    let db = TestDb::new();
    db.audited(
        "large",
        "CREATE DOMAIN picture AS bytea; CREATE DOMAIN photo AS picture;
         CREATE TABLE large (id int PRIMARY KEY, body text, raw bytea, doc jsonb, list text[], photo photo, note text)",
    );
    let mut app = db.app();
    let noise = format!("{NOISE}::text");
    for (column, written, bytes) in [
        (
            "body",
            "repeat('ä', 600000)",
            "convert_to(repeat('ä', 600000), 'UTF8')",
        ),
        ("body", &noise, &format!("convert_to({NOISE}, 'UTF8')")),
        (
            "raw",
            "decode(repeat('00ff', 500001), 'hex')",
            "decode(repeat('00ff', 500001), 'hex')",
        ),
        (
            "photo",
            "decode(repeat('00ff', 500001), 'hex')",
            "decode(repeat('00ff', 500001), 'hex')",
        ),
        (
            "doc",
            "jsonb_build_object('k', repeat('x', 1000000))",
            "convert_to(jsonb_build_object('k', repeat('x', 1000000))::text, 'UTF8')",
        ),
        (
            "list",
            "ARRAY[repeat('x', 600000), repeat('y', 600000)]",
            "convert_to(ARRAY[repeat('x', 600000), repeat('y', 600000)]::text, 'UTF8')",
        ),
    ] {
        execute(
            &mut app,
            &format!(
                "DELETE FROM large; INSERT INTO large (id, note, {column}) VALUES (1, 'n', {written})"
            ),
        );
        let image = images(&db).pop().unwrap()["data_after"].take();
        let mut expected = json!({"id": 1, "note": "n", "body": null, "raw": null, "photo": null, "doc": null, "list": null});
        expected[column] = omitted(&db, bytes);
        assert!(expected[column]["bytes"].as_u64().unwrap() > 1_000_000);
        assert_eq!(image, expected, "{column}");
    }
}

#[test]
fn c15_a_value_at_the_limit_is_whole() {
    let db = TestDb::new();
    db.audited(
        "large",
        "CREATE TABLE large (id int PRIMARY KEY, a text, b text)",
    );
    let mut app = db.app();
    // Each is at the limit, and the row is above it: the limit is a column's.
    execute(
        &mut app,
        "INSERT INTO large VALUES (1, repeat('x', 1000000), repeat('y', 1000000))",
    );
    assert_eq!(
        images(&db)[0]["data_after"],
        json!({"id": 1, "a": "x".repeat(1_000_000), "b": "y".repeat(1_000_000)})
    );
    execute(&mut app, "UPDATE large SET b = b || 'y'");
    let update = images(&db).pop().unwrap();
    assert_eq!(update["data_after"]["a"], "x".repeat(1_000_000));
    assert_eq!(update["data_after"]["b"]["bytes"], 1_000_001);
    assert_eq!(update["changed_from"], json!({"b": "y".repeat(1_000_000)}));
}

#[test]
fn c15_a_bytea_of_140_mb_beside_a_text_of_270_mb() {
    let db = TestDb::new();
    db.audited(
        "huge",
        "CREATE TABLE huge (id int PRIMARY KEY, raw bytea, body text, note text);
         ALTER TABLE huge ALTER raw SET STORAGE EXTERNAL, ALTER body SET STORAGE EXTERNAL",
    );
    let (raw, body) = (
        "decode(repeat('ab', 140000000), 'hex')",
        "repeat('z', 270000000)",
    );
    let mut app = db.app();
    execute(
        &mut app,
        &format!("INSERT INTO huge VALUES (1, {raw}, {body}, 'n')"),
    );
    execute(&mut app, "DELETE FROM huge");
    let (raw, body) = (
        omitted(&db, raw),
        omitted(&db, &format!("convert_to({body}, 'UTF8')")),
    );
    let row = json!({"id": 1, "raw": raw, "body": body, "note": "n"});
    assert_eq!(
        images(&db),
        [
            json!({"op": "insert", "data_after": row, "changed_fields": null, "changed_from": null}),
            json!({"op": "delete", "data_after": null, "changed_fields": null, "changed_from": row}),
        ]
    );
}

#[test]
fn c15_a_large_redacted_value_leaves_no_digest() {
    let db = TestDb::new();
    db.create("CREATE TABLE secrets (id int PRIMARY KEY, masked text, masked_raw bytea, excluded text, excluded_raw bytea, open text)");
    db.capture(
        "secrets",
        Definition::new("Secret", &["id"])
            .mask(&["masked", "masked_raw"])
            .exclude(&["excluded", "excluded_raw"])
            .store_changed_from(),
    );
    let mut app = db.app();
    execute(
        &mut app,
        &format!(
            "INSERT INTO secrets SELECT 1, v, v::bytea, v, v::bytea, v FROM (SELECT {NOISE} AS v) q"
        ),
    );
    execute(
        &mut app,
        "UPDATE secrets SET masked = masked || 'x', masked_raw = masked_raw || 'x', excluded = 'y'",
    );
    execute(&mut app, "UPDATE secrets SET open = 'o'");
    execute(&mut app, "UPDATE secrets SET id = 2");
    execute(&mut app, "DELETE FROM secrets");
    let open = omitted(&db, &format!("{NOISE}::bytea"));
    let row = |id: i32, open: &Value| json!({"id": id, "masked": "[REDACTED]", "masked_raw": "[REDACTED]", "open": open});
    let change = |op: &str, after: Value, fields: Value, from: Value| json!({"op": op, "data_after": after, "changed_fields": fields, "changed_from": from});
    // The open column holds the same bytes, so that its digest is what must be found there and nowhere else.
    assert_eq!(
        images(&db),
        [
            change("insert", row(1, &open), json!(null), json!(null)),
            change(
                "update",
                row(1, &open),
                json!(["masked", "masked_raw"]),
                json!({"masked": "[REDACTED]", "masked_raw": "[REDACTED]"})
            ),
            change(
                "update",
                row(1, &json!("o")),
                json!(["open"]),
                json!({"open": open})
            ),
            change("delete", json!(null), json!(null), row(1, &json!("o"))),
            change("insert", row(2, &json!("o")), json!(null), json!(null)),
            change("delete", json!(null), json!(null), row(2, &json!("o"))),
        ]
    );
}

#[test]
fn c15_a_column_beside_an_omitted_one_changes() {
    let db = TestDb::new();
    db.audited(
        "large",
        "CREATE TABLE large (id int PRIMARY KEY, body text, note text)",
    );
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO large VALUES (1, repeat('x', 1000001), 'a')",
    );
    execute(&mut app, "UPDATE large SET note = 'b'");
    execute(&mut app, "UPDATE large SET body = body WHERE id = 1");
    let x = omitted(&db, "repeat('x', 1000001)::bytea");
    let all = images(&db);
    assert_eq!(
        all[1..],
        [
            json!({"op": "update", "data_after": {"id": 1, "body": x, "note": "b"}, "changed_fields": ["note"], "changed_from": {"note": "a"}})
        ]
    );
    // One large value after another: both sides are digests.
    execute(&mut app, "UPDATE large SET body = repeat('y', 1000001)");
    let y = omitted(&db, "repeat('y', 1000001)::bytea");
    let update = images(&db).pop().unwrap();
    assert_eq!(update["changed_fields"], json!(["body"]));
    assert_eq!(update["changed_from"], json!({"body": x}));
    assert_eq!(update["data_after"]["body"], y);
    // Large in OLD only.
    execute(&mut app, "UPDATE large SET body = 'small'");
    let update = images(&db).pop().unwrap();
    assert_eq!(update["changed_from"], json!({"body": y}));
    assert_eq!(
        update["data_after"],
        json!({"id": 1, "body": "small", "note": "b"})
    );
    // Large in NEW only.
    execute(&mut app, "UPDATE large SET body = repeat('x', 1000001)");
    let update = images(&db).pop().unwrap();
    assert_eq!(update["changed_from"], json!({"body": "small"}));
    assert_eq!(update["data_after"]["body"], x);
}

#[test]
fn c15_a_large_value_in_a_partition() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE parted (id int, body text, raw json, PRIMARY KEY (id)) PARTITION BY RANGE (id);
         CREATE TABLE leaf (gone int, raw json, body text, id int NOT NULL);
         ALTER TABLE leaf DROP COLUMN gone;
         ALTER TABLE parted ATTACH PARTITION leaf FOR VALUES FROM (0) TO (10)",
    );
    db.capture(
        "parted",
        Definition::new("Parted", &["id"]).store_changed_from(),
    );
    execute(
        &mut db.app(),
        r#"INSERT INTO leaf (id, body, raw) VALUES (1, repeat('x', 1000001), '"\u0000"'); UPDATE parted SET body = ''"#,
    );
    let x = omitted(&db, "repeat('x', 1000001)::bytea");
    let all = images(&db);
    assert_eq!(
        all[0]["data_after"],
        json!({"id": 1, "body": x, "raw": r#""\u0000""#})
    );
    assert_eq!(all[1]["changed_from"], json!({"body": x}));
}

#[test]
fn c15_context_is_bounded() {
    let db = TestDb::new();
    db.audited("t", "CREATE TABLE t (id int PRIMARY KEY)");
    execute(
        &mut db.app(),
        "BEGIN;
         SELECT set_config('threadline.' || f, repeat('ä', 10000), true)
         FROM unnest('{source,request_id,correlation_id,job_id}'::text[]) f;
         SELECT set_config('threadline.meta', jsonb_build_object('k', repeat('m', 70000))::text, true);
         INSERT INTO t VALUES (1);
         COMMIT",
    );
    let bounded = "ä".repeat(255);
    assert_eq!(
        rows(
            &mut db.auditor(),
            "SELECT source, request_id, correlation_id, job_id, meta FROM audit_transactions"
        ),
        [json!({
            "source": bounded, "request_id": bounded, "correlation_id": bounded, "job_id": bounded,
            "meta": {"$threadline": "omitted", "bytes": 70009}
        })]
    );
}

#[test]
fn c15_actions_are_bounded() {
    let db = TestDb::new();
    db.audited("t", "CREATE TABLE t (id int PRIMARY KEY)");
    execute(
        &mut db.app(),
        "BEGIN; INSERT INTO t VALUES (1);
         SELECT threadline_record_action_v1('act', NULL, 'ok', repeat('v', 10000), repeat('c', 10000), repeat('r', 10000),
            repeat('t', 100000), repeat('i', 10000), repeat('q', 10000), repeat('j', 10000));
         COMMIT",
    );
    assert_eq!(
        rows(
            &mut db.auditor(),
            "SELECT length(verb) v, length(category) c, length(reason) r, length(comment) t, length(correlation_id) i,
                    length(request_id) r_id, length(job_id) j FROM audit_actions"
        ),
        [json!({"v": 255, "c": 255, "r": 4096, "t": 65536, "i": 255, "r_id": 255, "j": 255})]
    );
}
