//! The commit marker is the last thing that a transaction leaves, whenever its constraints are checked.

use super::*;

on_both_kinds!(
    constraints_that_are_immediate,
    triggers_that_write_at_commit
);

fn ledgers(db: &TestDb) {
    for table in ["ledger", "other", "third"] {
        db.audited(
            table,
            &format!("CREATE TABLE {table} (id bigint PRIMARY KEY, note text)"),
        );
    }
}

/// `ALL`, and the deferrable constraints of the log.
fn constraints(db: &TestDb) -> Vec<String> {
    let names = rows(
        &mut db.superuser(),
        "SELECT DISTINCT quote_ident(conname) AS name FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid
         WHERE r.relnamespace = 'public'::regnamespace AND r.relname LIKE 'audit\\_%' AND c.condeferrable ORDER BY 1",
    );
    let names = names
        .iter()
        .map(|row| row["name"].as_str().unwrap().to_owned());
    std::iter::once("ALL".to_owned()).chain(names).collect()
}

/// The last commit marker of the transaction that wrote a row, and the last change of it.
const LAST: &str = "(SELECT max(m.committed_at) FROM audit_commits m JOIN audit_changes c USING (transaction_id) WHERE c.table_pk ->> 'id' = ':id' AND c.table_name = ':table')";

fn last(table: &str, id: usize) -> String {
    LAST.replace(":id", &id.to_string())
        .replace(":table", table)
}

/// Another transaction writes and commits in between: a snapshot by commit time has it before the first one.
fn constraints_that_are_immediate(db: &TestDb) {
    ledgers(db);
    let (mut app, mut other) = (db.app(), db.app());
    let mut early = Vec::new();
    let mut id = 0;
    for name in constraints(db) {
        let set = format!("SET CONSTRAINTS {name} IMMEDIATE");
        let unset = format!("SET CONSTRAINTS {name} DEFERRED");
        let (write, more) = (
            "INSERT INTO ledger VALUES (:id)",
            "UPDATE ledger SET note = 'x' WHERE id = :id",
        );
        for statements in [
            vec![write],
            vec![write, &set],
            vec![&set, write],
            vec![write, &set, more],
            vec![&set, write, more],
            vec![write, &set, &set],
            vec![write, &set, &unset],
            vec![write, &set, &unset, &set],
            vec![&set, write, &unset],
            vec![write, "SAVEPOINT s", &set, "ROLLBACK TO s"],
            vec![write, "SAVEPOINT s", &set, "RELEASE s"],
            vec![write, "SAVEPOINT s", &set, more, "ROLLBACK TO s"],
            vec![
                write,
                "SAVEPOINT s",
                more,
                &set,
                "ROLLBACK TO s",
                "RELEASE s",
            ],
            vec!["SAVEPOINT s", write, &set, "ROLLBACK TO s", write],
            vec!["SAVEPOINT s", &set, "ROLLBACK TO s", write, &set],
            vec![write, &set, "SAVEPOINT s", &unset, more, "ROLLBACK TO s"],
        ] {
            id += 1;
            let sql = statements.join("; ").replace(":id", &id.to_string());
            execute(&mut app, &format!("BEGIN; {sql}"));
            execute(&mut other, &format!("INSERT INTO other VALUES ({id})"));
            execute(&mut app, "COMMIT");
            let right = value(
                &mut db.superuser(),
                &format!(
                    "SELECT coalesce({} > {}, false)",
                    last("ledger", id),
                    last("other", id)
                ),
            );
            if right == false {
                early.push(sql);
            }
        }
    }
    assert_eq!(
        early,
        [] as [&str; 0],
        "the marker is older than that of a transaction that committed before"
    );
    assert_marked_last(db);
}

fn assert_marked_last(db: &TestDb) {
    let found = rows(
        &mut db.superuser(),
        "SELECT c.transaction_id, max(c.captured_at) AS captured, m.last FROM audit_changes c
         LEFT JOIN (SELECT transaction_id, max(committed_at) AS last FROM audit_commits GROUP BY 1) m USING (transaction_id)
         GROUP BY 1, 3 HAVING m.last >= max(c.captured_at) IS NOT TRUE",
    );
    assert_eq!(found, [] as [Value; 0], "changes after the last marker");
}

/// Triggers of the application that are due after the marker, and that make others due.
fn triggers_that_write_at_commit(db: &TestDb) {
    ledgers(db);
    db.create(
        "CREATE FUNCTION to_other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO other VALUES (NEW.id); UPDATE other SET note = 'x' WHERE id = NEW.id; RETURN NULL; END $$;
         CREATE FUNCTION to_third() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO third VALUES (NEW.id); SET CONSTRAINTS ALL DEFERRED; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION to_other();
         CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON other DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION to_third()",
    );
    let mut app = db.app();
    for (statements, ids) in [
        ("INSERT INTO ledger VALUES (1)", 1..=1),
        (
            "INSERT INTO ledger VALUES (2); INSERT INTO ledger VALUES (3)",
            2..=3,
        ),
        (
            "INSERT INTO ledger VALUES (4); SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO ledger VALUES (5)",
            4..=5,
        ),
        (
            "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS at_commit DEFERRED; INSERT INTO ledger VALUES (6)",
            6..=6,
        ),
    ] {
        execute(&mut app, &format!("BEGIN; {statements}; COMMIT"));
        for id in ids {
            let written = value(
                &mut db.superuser(),
                &format!("SELECT count(*) FROM audit_changes WHERE table_pk ->> 'id' = '{id}'"),
            );
            assert_eq!(written, 4, "{statements}"); // ledger, other twice, third
        }
    }
    assert_marked_last(db);
}
