//! C26: a dump in a younger cluster, where transaction ids start again, with several writers in both.

use std::thread;

use diesel::prelude::*;
use scratch_postgres::ScratchPostgres;
use serde_json::json;
use threadline::capture::{Identifier, Storage, base};
use threadline_tests::log::{assert_newest_images_equal_table, assert_nothing_is_orphaned};
use threadline_tests::{TestDb, cluster, execute, program, rows, run, skip, value};

use crate::alone;
use crate::bulk::write_as;

const WRITERS: i64 = 8;
const EACH: i64 = 50;

/// Every row says who wrote it last, so that each change can be compared with its transaction. Fails when
/// `threadline_transaction_id_v1` is made of the transaction id alone.
#[test]
fn c26_a_dump_in_a_younger_cluster_misattributes_nothing() {
    let _alone = alone();
    if program("pg_dump").is_none() {
        return skip("no pg_dump; it comes with PostgreSQL's client programs");
    }
    let older = cluster(ScratchPostgres::builder());
    let db = TestDb::on(&older);
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, written_by text)",
    );
    let insert = format!("INSERT INTO items SELECT i FROM generate_series(1, {WRITERS} * 2) i");
    write_as(&mut db.app(), "first", &insert).unwrap();
    // Far enough that the younger cluster comes by the same transaction ids.
    burn(&mut db.app(), 5_000);
    write_all(&db, "before");

    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("audited.dump").display().to_string();
    run(
        "pg_dump",
        &["--format=custom", "--file", &dump, &db.url("postgres")],
    );
    let postgres = cluster(ScratchPostgres::builder());
    let younger = TestDb::empty_on(&postgres);
    let into = younger.url("postgres");
    run(
        "pg_restore",
        &[
            "--exit-on-error",
            "--single-transaction",
            "--dbname",
            &into,
            &dump,
        ],
    );
    assert_newest_images_equal_table(&younger, "items");

    let mut auditor = younger.superuser();
    let first = value(
        &mut auditor,
        "SELECT min(txid::text::bigint) FROM audit_transactions WHERE actor_ref ->> 'id' LIKE 'before%'",
    );
    let last_id = value(&mut auditor, "SELECT max(id) FROM audit_changes");
    burn(&mut younger.app(), first.as_i64().unwrap());
    write_all(&younger, "after");

    // The point of it: ids come again, as many as the writers' own other transactions leave.
    let reused = "SELECT count(*) FROM (SELECT txid FROM audit_transactions GROUP BY txid HAVING count(*) = 2) t";
    let reused = value(&mut auditor, reused).as_i64().unwrap();
    assert!(reused > WRITERS * EACH / 2, "{reused}");

    let transactions = WRITERS * EACH;
    let attributed = rows(
        &mut auditor,
        "SELECT split_part(t.actor_ref ->> 'id', ' ', 1) AS by, count(*) AS changes, count(DISTINCT t.id) AS transactions,
                count(DISTINCT t.actor_ref) AS actors,
                count(*) FILTER (WHERE c.data_after -> 'written_by' IS DISTINCT FROM t.actor_ref -> 'id') AS wrong
         FROM audit_changes c LEFT JOIN audit_transactions t ON t.id = c.transaction_id
         WHERE c.op = 'update' GROUP BY 1 ORDER BY 1 DESC",
    );
    let by = |by: &str| json!({"by": by, "changes": transactions * 2, "transactions": transactions, "actors": transactions, "wrong": 0});
    assert_eq!(attributed, [by("before"), by("after")]);
    let order = format!(
        "SELECT bool_and((id > {last_id}) = (data_after ->> 'written_by' LIKE 'after%')) FROM audit_changes WHERE op = 'update'"
    );
    assert_eq!(value(&mut auditor, &order), true);
    assert_newest_images_equal_table(&younger, "items");
    assert_nothing_is_orphaned(&younger);
}

/// R21: what the owner of a database restores belongs to it, because the log's owner may not create in the schema before the
/// grants at the end of a dump. One command puts owners, rights and guards right.
#[test]
fn c31_the_rights_on_a_restored_log_are_put_right() {
    let _alone = alone();
    if program("pg_dump").is_none() {
        return skip("no pg_dump; it comes with PostgreSQL's client programs");
    }
    let postgres = cluster(ScratchPostgres::builder());
    let db = TestDb::empty_on(&postgres);
    execute(
        &mut db.superuser(),
        "CREATE ROLE restored_log; GRANT restored_log TO tl_owner",
    );
    let log_owner = Identifier::new("restored_log").unwrap();
    let base = base::up_sql(&Storage::default(), Some(&log_owner));
    execute(&mut db.owner(), &base);
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, n bigint)",
    );
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 1)");
    let catalog = "SELECT c.oid::regclass::text AS name, relowner::regrole AS owner, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r' END, relowner))) a) AS acl, relrowsecurity AS secured,
                (SELECT array_agg(tgname || pg_get_triggerdef(t.oid) ORDER BY tgname) FROM pg_trigger t WHERE tgrelid = c.oid) AS guards,
                (SELECT array_agg(polname || polcmd::text ORDER BY polname) FROM pg_policy WHERE polrelid = c.oid) AS policies
            FROM pg_class c WHERE relname LIKE 'audit\\_%' AND relkind IN ('r', 'S')
            UNION ALL SELECT oid::regprocedure::text, proowner::regrole, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(coalesce(proacl, acldefault('f', proowner))) a), NULL, NULL, NULL FROM pg_proc WHERE proname LIKE 'threadline\\_%' ORDER BY name";
    let before = rows(&mut db.superuser(), catalog);

    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("log.dump").display().to_string();
    run(
        "pg_dump",
        &["--format=custom", "--file", &dump, &db.url("postgres")],
    );
    let restored = TestDb::empty_on(&postgres);
    let into = restored.url("tl_owner");
    let restore = program("pg_restore").expect("it comes with pg_dump");
    let output = std::process::Command::new(restore)
        .args(["--dbname", &into, &dump])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("permission denied"), "{said}");
    let mut owner = restored.owner();
    assert_ne!(rows(&mut owner, catalog), before);

    // What a mistake may have given away meanwhile goes, too.
    execute(
        &mut owner,
        "GRANT ALL ON audit_changes TO tl_app; GRANT EXECUTE ON FUNCTION threadline_seal_v1() TO PUBLIC;
         ALTER TABLE audit_changes DISABLE ROW LEVEL SECURITY; DROP TRIGGER threadline_guard ON audit_commits",
    );
    execute(&mut owner, "SELECT threadline_protect_v1('restored_log')");
    for (now, before) in rows(&mut owner, catalog).iter().zip(&before) {
        assert_eq!(now, before);
    }
    execute(&mut restored.app(), "UPDATE items SET n = 2");
    assert_newest_images_equal_table(&restored, "items");
}

/// Transactions of two changes each, every one by an actor of its own. Writers have rows of their own.
fn write_all(db: &TestDb, when: &str) {
    thread::scope(|scope| {
        for writer in 1..=WRITERS {
            scope.spawn(move || {
                let mut app = db.app();
                for n in 1..=EACH {
                    let actor = format!("{when} {writer}-{n}");
                    let write = format!("UPDATE items SET written_by = '{actor}' WHERE id IN ({writer}, {writer} + {WRITERS})");
                    assert_eq!(write_as(&mut app, &actor, &write), Ok(2));
                }
            });
        }
    });
}

/// Uses up transaction ids until `xid`.
fn burn(app: &mut PgConnection, xid: i64) {
    execute(
        app,
        &format!(
            "DO $$ BEGIN WHILE pg_current_xact_id()::text::bigint < {xid} LOOP COMMIT; END LOOP; COMMIT; END $$"
        ),
    );
}
