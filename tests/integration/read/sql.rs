//! What the queries are made of.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::QueryFragment;
use threadline::{Op, change, prelude::*};

diesel::table! { billing.invoices (id) { id -> Integer, note -> Text, } }

#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = invoices)]
#[expect(dead_code, reason = "only its queries are rendered")]
struct Invoice {
    id: i32,
    #[audited(mask, fill = "it's \"gone\"")]
    note: String,
}

/// One clause a line.
fn lines(query: &impl QueryFragment<Pg>) -> String {
    let sql = diesel::debug_query::<Pg, _>(query).to_string();
    [
        " FROM threadline",
        " LEFT JOIN",
        " CROSS JOIN",
        " WHERE (tl_c",
        " ORDER BY",
        " LIMIT",
        " -- binds",
    ]
    .into_iter()
    .fold(sql, |sql, clause| {
        sql.replace(clause, &format!("\n{}", clause.trim_start()))
    })
}

#[test]
fn history() {
    let query = Invoice::history(7)
        .filter(change::op.eq(Op::Update))
        .limit(10);
    insta::assert_snapshot!(lines(&query), @r#"
SELECT tl_c.id, tl_c.transaction_id, tl_c.op, tl_c.changed_fields, tl_c.changed_from, CASE WHEN tl_c.op <> 'update' THEN tl_c.data_after ELSE (SELECT coalesce(jsonb_object_agg(f, tl_c.data_after -> f), '{}') FROM unnest(tl_c.changed_fields) AS f WHERE tl_c.data_after ? f) END, coalesce((SELECT tl_g.redacted FROM audit_tables AS tl_g WHERE tl_g.id = tl_c.table_id), '{}'), tl_c.captured_at, tl_r.redacted, tl_r.omitted, tl_t.occurred_at, tl_t.actor_ref, tl_t.action_id, tl_t.source, tl_t.request_id, tl_t.correlation_id, tl_t.job_id, tl_r.problem, tl_s.data IS NOT NULL, tl_r.absent, "invoices"."id", "invoices"."note"
FROM threadline_history(threadline_without_scope_v1('"billing"."invoices"'::regclass), jsonb_build_object('id', $1)) AS tl_c
LEFT JOIN audit_transactions AS tl_t ON tl_t.id = tl_c.transaction_id
CROSS JOIN LATERAL (SELECT CASE WHEN tl_c.op = 'delete' OR tl_c.op = 'update' AND jsonb_exists((SELECT threadline_recipe('"billing"."invoices"'::regclass,  E'{"note":"it''s \\"gone\\""}'::jsonb)), 'on_change') THEN threadline_state(tl_c) ELSE tl_c.data_after END AS data OFFSET 0) AS tl_s
CROSS JOIN LATERAL threadline_decode(NULL::"billing"."invoices", (SELECT threadline_recipe('"billing"."invoices"'::regclass,  E'{"note":"it''s \\"gone\\""}'::jsonb)), tl_s.data) AS tl_r
CROSS JOIN LATERAL (SELECT (tl_r.row_image).*) AS "invoices"
WHERE (tl_c.op = $2)
ORDER BY tl_c.id DESC
LIMIT $3
-- binds: [7, Update, 10]
"#);
}

#[test]
fn as_of() {
    let moment: chrono::DateTime<chrono::Utc> = "2026-03-15T10:30:00Z".parse().unwrap();
    let query = Invoice::as_of(7, moment);
    insta::assert_snapshot!(lines(&query), @r#"
SELECT tl_a.outcome, (tl_a.change).id, (tl_a.change).transaction_id, (tl_a.change).captured_at, tl_r.redacted, tl_r.problem, tl_a.outcome = 'found', tl_r.absent, "invoices"."id", "invoices"."note"
FROM threadline_as_of(threadline_without_scope_v1('"billing"."invoices"'::regclass), jsonb_build_object('id', $1), (SELECT CAST($2 AS timestamptz))) AS tl_a
CROSS JOIN LATERAL threadline_decode(NULL::"billing"."invoices", (SELECT threadline_recipe('"billing"."invoices"'::regclass,  E'{"note":"it''s \\"gone\\""}'::jsonb)), CASE WHEN tl_a.outcome = 'found' THEN threadline_whole(tl_a.change) END) AS tl_r
CROSS JOIN LATERAL (SELECT (tl_r.row_image).*) AS "invoices"
-- binds: [7, 2026-03-15T10:30:00Z]
"#);
}
