//! What the log says of a table, in short.

use serde_json::Value;
use threadline_tests::{TestDb, execute, rows};

/// Every change of a table in the order of capture: the operation and the values of the key, such as `update 1`.
pub fn lines(db: &TestDb, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' ', c.op, (SELECT string_agg(k.value, ',' ORDER BY k.key) FROM jsonb_each_text(c.table_pk) k)) AS line
         FROM audit_changes c WHERE c.table_name = '{table}' ORDER BY c.id"
    );
    rows(&mut db.auditor(), &sql)
        .iter()
        .map(|row| row["line"].as_str().unwrap().to_owned())
        .collect()
}

/// The newest change of a table.
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
            "SELECT coalesce(logged.table_pk, live.pk) AS key, logged.image AS logged, live.image AS live
             FROM (SELECT DISTINCT ON (c.table_pk) c.table_pk, c.data_after AS image
                   FROM audit_changes c WHERE c.table_id = threadline_table('{table}')
                   ORDER BY c.table_pk, c.id DESC) logged
             FULL JOIN (SELECT to_jsonb(t) AS image, (
                            SELECT jsonb_object_agg(k, to_jsonb(t) ->> k)
                            FROM audit_tables a, unnest(a.key_columns) k WHERE a.id = threadline_table('{table}')) AS pk
                        FROM {table} t) live ON live.pk = logged.table_pk
             WHERE logged.image::text IS DISTINCT FROM live.image::text"
        ),
    );
    assert_eq!(
        differing,
        Vec::<Value>::new(),
        "the log:\n{}",
        lines(db, table).join("\n")
    );
}
