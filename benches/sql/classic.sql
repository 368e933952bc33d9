-- A trigger of the classic kind, written for the comparison. For every row it upserts the transaction by its unique txid
-- and reads it back, diffs by a join of both images, and inserts under a random uuid into a table with a CHECK, a foreign
-- key and five indexes (the primary key counts). No-ops are recorded, and a DELETE keeps no old row.
-- In its favour: it pins no settings, checks nothing, runs as the writer, and stores less about the transaction.

CREATE TABLE audit_transactions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    txid bigint NOT NULL UNIQUE,
    occurred_at timestamptz NOT NULL,
    source text,
    meta jsonb,
    actor_ref jsonb,
    action_id uuid
);
CREATE INDEX ON audit_transactions (occurred_at);

CREATE TABLE audit_changes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    transaction_id uuid NOT NULL REFERENCES audit_transactions,
    table_schema text NOT NULL,
    table_name text NOT NULL,
    table_pk jsonb NOT NULL,
    op text NOT NULL CHECK (op IN ('insert', 'update', 'delete')),
    data_after jsonb,
    changed_fields text[],
    changed_from jsonb,
    captured_at timestamptz NOT NULL
);
CREATE INDEX ON audit_changes (transaction_id);
CREATE INDEX ON audit_changes (table_schema, table_name, table_pk);
CREATE INDEX ON audit_changes (table_schema, table_name, captured_at);
CREATE INDEX ON audit_changes (captured_at);

CREATE FUNCTION classic_capture() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    transaction uuid;
    before jsonb;
    after jsonb;
    pk jsonb := '{}';
    column_name text;
    changed text[];
    prior jsonb;
BEGIN
    INSERT INTO audit_transactions (txid, occurred_at, actor_ref)
    VALUES (txid_current(), clock_timestamp(), nullif(current_setting('threadline.actor_ref', true), '')::jsonb)
    ON CONFLICT (txid) DO NOTHING;
    SELECT t.id INTO transaction FROM audit_transactions t WHERE t.txid = txid_current();

    IF TG_OP <> 'INSERT' THEN
        before := to_jsonb(OLD);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        after := to_jsonb(NEW);
    END IF;
    FOREACH column_name IN ARRAY TG_ARGV LOOP
        pk := pk || jsonb_build_object(column_name, coalesce(after, before) ->> column_name);
    END LOOP;
    IF TG_OP = 'UPDATE' THEN
        SELECT coalesce(array_agg(n.key ORDER BY n.key), '{}'), coalesce(jsonb_object_agg(n.key, o.value), '{}')
        INTO changed, prior
        FROM jsonb_each(after) n JOIN jsonb_each(before) o ON o.key = n.key
        WHERE n.value IS DISTINCT FROM o.value;
    END IF;

    INSERT INTO audit_changes
        (transaction_id, table_schema, table_name, table_pk, op, data_after, changed_fields, changed_from, captured_at)
    VALUES
        (transaction, TG_TABLE_SCHEMA, TG_TABLE_NAME, pk, lower(TG_OP), after, changed, prior, clock_timestamp());
    RETURN NULL;
END $$;
