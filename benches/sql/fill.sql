-- Makes a log of {changes} changes out of one that was captured: every line is the captured insert or update of `users`
-- with another key, time, transaction and values, so that it looks as the recorder makes it. They are 50 ms apart, ten in
-- a transaction, and end before now. Every tenth change is about the row 1000; the others take turns, 90 for each row.

-- The log's own triggers would seal the transactions now.
SET session_replication_role = replica;

CREATE TEMP TABLE line AS
SELECT i, '{start}'::timestamptz + i * interval '50 ms' AS at,
       CASE WHEN hot THEN 1000 ELSE 1001 + turn % {rows} END AS id,
       CASE WHEN hot THEN i / 10 - 1 ELSE turn / {rows} END AS version,
       CASE WHEN hot THEN 10 ELSE i - (turn - {rows} + 1 + (turn - {rows}) / 9) END * interval '50 ms' AS since,
       (lpad(to_hex((extract(epoch FROM '{start}'::timestamptz) * 1000000)::bigint + (i - 1) / 10 * 500000), 16, '0')
           || lpad(to_hex(1000 + (i - 1) / 10), 16, '0'))::uuid AS tx
FROM (SELECT i, i % 10 = 0 AS hot, i - i / 10 - 1 AS turn FROM generate_series(1, {changes}::bigint) i) numbered;

INSERT INTO audit_transactions
SELECT filled.*
FROM (SELECT t FROM audit_transactions t LIMIT 1) captured,
     (SELECT tx, min(i) AS i, min(at) AS at FROM line GROUP BY tx ORDER BY min(i) OFFSET 0) l,
     jsonb_populate_record(captured.t, jsonb_build_object('id', l.tx, 'txid', 1000 + (l.i - 1) / 10, 'occurred_at', l.at)) filled;

INSERT INTO audit_commits (transaction_id, occurred_at, committed_at)
SELECT id, occurred_at, occurred_at + interval '460 ms' FROM audit_transactions
WHERE id NOT IN (SELECT transaction_id FROM audit_commits) ORDER BY occurred_at;

INSERT INTO audit_changes
SELECT filled.*
FROM (SELECT l.*, jsonb_build_object('id', l.id::text) AS pk FROM line l ORDER BY i OFFSET 0) l
JOIN (SELECT DISTINCT ON (op) op, c AS change FROM audit_changes c ORDER BY op, id) captured
    ON captured.op = CASE WHEN l.version = 0 THEN 'insert' ELSE 'update' END,
LATERAL jsonb_populate_record(captured.change, jsonb_build_object(
    'id', nextval('audit_changes_id_seq'), 'key_hash', hashtextextended(l.pk::text, 0), 'captured_at', l.at,
    'transaction_id', l.tx, 'table_pk', l.pk,
    'data_after', (captured.change).data_after || jsonb_build_object(
        'id', l.id, 'name', 'Name ' || l.version, 'balance', l.version::numeric(12, 2),
        'created_at', '{start}'::timestamptz, 'updated_at', l.at),
    'changed_from', CASE WHEN l.version > 0 THEN jsonb_build_object(
        'name', 'Name ' || l.version - 1, 'balance', (l.version - 1)::numeric(12, 2), 'updated_at', l.at - l.since) END)) filled;

DROP TABLE line;
RESET session_replication_role;
