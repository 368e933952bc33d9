//! What the log says of a table, in short.

use crate::{TestDb, execute, rows};
use serde_json::{Value, json};

/// Every change of a table in the order of capture: the operation and the values of the key, such as `update 1`.
#[must_use]
pub fn lines(db: &TestDb, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' ', c.op, (SELECT string_agg(k.value, ',' ORDER BY k.key) FROM jsonb_each_text(c.table_pk) k)) AS line
         FROM audit_changes c WHERE c.table_name = '{table}' ORDER BY c.id"
    );
    rows(&mut db.auditor(), &sql)
        .iter()
        .map(|row| {
            row["line"]
                .as_str()
                .expect("an operation at least")
                .to_owned()
        })
        .collect()
}

/// The newest change of a table.
#[must_use]
pub fn newest(db: &TestDb, table: &str) -> Value {
    let sql = format!(
        "SELECT * FROM audit_changes WHERE table_name = '{table}' ORDER BY id DESC LIMIT 1"
    );
    rows(&mut db.auditor(), &sql).remove(0)
}

/// Holds if the newest image of every row equals the table, and no row of either is missing from the other.
pub fn assert_newest_images_equal_table(db: &TestDb, table: &str) {
    let mut owner = db.owner();
    execute(&mut owner, "SET timezone = 'UTC'");
    let differing = rows(
        &mut owner,
        &format!(
            "WITH audited AS MATERIALIZED (
                 SELECT a.id, a.key_columns FROM audit_tables a WHERE a.id = threadline_table('{table}'))
             SELECT coalesce(logged.table_pk, live.pk) AS key, logged.image AS logged, live.image AS live
             FROM (SELECT DISTINCT ON (c.table_pk) c.table_pk, c.data_after AS image
                   FROM audit_changes c WHERE c.table_id = (SELECT id FROM audited)
                   ORDER BY c.table_pk, c.id DESC) logged
             FULL JOIN (SELECT to_jsonb(\"!row\") AS image, \"!row\"::text AS text, (
                            SELECT jsonb_object_agg(k, to_jsonb(\"!row\") ->> k)
                            FROM audited, unnest(audited.key_columns) k) AS pk
                        FROM {table} \"!row\") live ON live.pk = logged.table_pk
             -- A column that JSON would lose is stored as its text: the row that the image stands for tells.
             WHERE CASE WHEN logged.image::text IS DISTINCT FROM live.image::text
                   THEN jsonb_populate_record(NULL::{table}, logged.image)::text IS DISTINCT FROM live.text END
             LIMIT 20"
        ),
    );
    let log = || {
        let lines = lines(db, table);
        lines[lines.len().saturating_sub(100)..].join("\n")
    };
    assert_eq!(differing, Vec::<Value>::new(), "the log:\n{}", log());
}

/// Holds if every change belongs to a transaction that has a row, and every such row has changes and a seal.
pub fn assert_nothing_is_orphaned(db: &TestDb) {
    let orphans = rows(
        &mut db.auditor(),
        "SELECT count(*) FILTER (WHERE t.id IS NULL) AS without_a_row, count(*) FILTER (WHERE c.id IS NULL) AS without_changes,
                count(*) FILTER (WHERE s.id IS NULL) AS without_a_seal
         FROM (SELECT DISTINCT transaction_id AS id FROM audit_changes) c
         FULL JOIN audit_transactions t USING (id)
         FULL JOIN (SELECT DISTINCT transaction_id AS id FROM audit_commits) s USING (id)",
    );
    let none = json!({"without_a_row": 0, "without_changes": 0, "without_a_seal": 0});
    assert_eq!(orphans, [none]);
}
