-- The recorder: what a row change leaves in audit_changes.
--
-- `rules` say how a table is captured, as data; what doesn't apply is absent:
--   table_id, table_schema, table_name
--   key             the key columns, in order; key_column if it is only one
--   exclude, mask, except_columns, ignore_only, on_change, store_changed_from, require_actor, truncate, level
--                   the policy; mask gives every masked column its placeholder
--   redacted        the columns that are excluded or masked
--   as_text         columns that are stored as their text, since JSON would lose some of it
--   inexact         there are columns that can change without their JSON form changing
--   key_deferrable  two rows may live under one key for a while
--   max_value_bytes what is larger is left out

SET LOCAL lock_timeout = '2s';

CREATE OR REPLACE FUNCTION public.threadline_masked_v1(image jsonb, mask jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    masks pg_catalog.jsonb;
BEGIN
    SELECT jsonb_object_agg(m.key, m.value) INTO masks FROM jsonb_each(mask) m WHERE image -> m.key <> 'null';
    RETURN image || coalesce(masks, '{}');
END $$;

-- A list of the rules; '{}' where there is none.
CREATE OR REPLACE FUNCTION public.threadline_list_v1(rules jsonb, name text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF rules ? name THEN
        RETURN ARRAY(SELECT jsonb_array_elements_text(rules -> name));
    END IF;
    RETURN '{}';
END $$;

-- The key of a row: every key column as text, under its name.
CREATE OR REPLACE FUNCTION public.threadline_key_of_v1(rules jsonb, image jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    pk pg_catalog.jsonb;
BEGIN
    SELECT jsonb_object_agg(k, image ->> k) INTO pk FROM jsonb_array_elements_text(rules -> 'key') k;
    IF jsonb_strip_nulls(pk) <> pk THEN
        RAISE EXCEPTION 'threadline: table %.% has no value in its key columns %', rules ->> 'table_schema', rules ->> 'table_name', public.threadline_list_v1(rules, 'key')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'A key column was renamed or dropped: say so in the model (formerly = "old name"), run `threadline generate` and the new migration.';
    END IF;
    RETURN pk;
END $$;

-- The same, without a call where the key is a single column. STABLE, as jsonb_build_object is: else it is not inlined.
CREATE OR REPLACE FUNCTION public.threadline_key_v1(rules jsonb, key_column text, image jsonb) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN image ->> key_column IS NULL THEN public.threadline_key_of_v1(rules, image)
                ELSE jsonb_build_object(key_column, image ->> key_column) END
$$;

-- Records one row change from its two whole images, and says what is left to do:
--   NULL       nothing was recorded: look at the rows, and pass their images and what changed, carefully
--   ''         nothing
--   'moved'    the key changed: another row may live under the old one
--   'overtaken' somebody wrote in between: the row's newest version may have been recorded already
-- `relation`, its schema and name are what fired the trigger, `operation` and `moment` are those of the trigger; without one,
-- `relation` is NULL. `command` tells the writing command from others of the same statement. `columns` are those of the
-- table in the order of their names, as far as they are known. `careful` says that the images were made column by column
-- where they had to be.
-- Few and large expressions, because each is made ready once in a transaction; variables in INSERT, because what is computed
-- there is made ready for each row.
CREATE OR REPLACE FUNCTION public.threadline_record_v1(
    rules jsonb, relation oid, relation_schema text, relation_name text, operation text, moment text, command text,
    columns text[], before jsonb, after jsonb, changed text[], careful boolean
) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    target CONSTANT integer := rules -> 'table_id';
    key_column CONSTANT pg_catalog.text := rules ->> 'key_column';
    pk pg_catalog.jsonb;
    prior pg_catalog.jsonb;
    field pg_catalog.text;
    hidden pg_catalog.text[];
    tx pg_catalog.uuid;
    state pg_catalog.text;
BEGIN
    IF relation_name <> rules ->> 'table_name' OR relation_schema <> rules ->> 'table_schema' OR operation = 'TRUNCATE'
        OR current_setting('threadline.capture', true) = 'off'
    THEN
        IF NOT careful THEN
            IF NOT public.threadline_admit_v1(rules, relation, relation_schema, relation_name, operation, moment) THEN
                RETURN '';
            END IF;
        END IF;
        relation_schema := rules ->> 'table_schema';
        relation_name := rules ->> 'table_name';
    END IF;
    IF NOT careful AND coalesce(greatest(pg_column_size(before), pg_column_size(after)) > (rules -> 'max_value_bytes')::integer, true) THEN
        RETURN NULL;
    END IF;
    pk := CASE WHEN operation = 'TRUNCATE' THEN '{}'::jsonb ELSE public.threadline_key_v1(rules, key_column, coalesce(before, after)) END;
    IF operation = 'UPDATE' THEN
        IF pk <> public.threadline_key_v1(rules, key_column, after) THEN
            PERFORM public.threadline_record_v1(rules, relation, relation_schema, relation_name, 'DELETE', NULL, command, columns, before, NULL, NULL, true);
            PERFORM public.threadline_record_v1(rules, relation, relation_schema, relation_name, 'INSERT', NULL, command, columns, NULL, after, NULL, true);
            RETURN 'moved';
        END IF;
        prior := '{}'::jsonb;
        IF changed IS NULL THEN
            -- A loop: a query over jsonb_each_text() takes three times as long.
            FOREACH field IN ARRAY columns LOOP
                IF before ->> field IS DISTINCT FROM after ->> field THEN
                    changed := changed || field;
                    prior := prior || jsonb_build_object(field, before -> field);
                END IF;
            END LOOP;
            -- The text of a jsonb value doesn't tell 1 from "1", and there may be columns that are not known yet.
            IF changed IS NULL OR after || prior <> before THEN
                RETURN NULL;
            END IF;
        ELSE
            FOREACH field IN ARRAY changed LOOP
                prior := prior || jsonb_build_object(field, before -> field);
            END LOOP;
            IF rules ? 'on_change' THEN
                after := after - ARRAY(SELECT jsonb_object_keys(public.threadline_unchanged_v1(rules, changed)));
            END IF;
        END IF;
        before := prior;
    END IF;
    IF rules ?| '{redacted,except_columns,ignore_only}' THEN
        IF relation IS NOT NULL AND coalesce(after, before) - columns <> '{}' AND rules ? 'redacted' THEN
            PERFORM public.threadline_verify_columns_v1(relation, rules, coalesce(after, before), columns);
        END IF;
        hidden := public.threadline_list_v1(rules, 'exclude');
        IF changed <> '{}' AND changed <@ (hidden || public.threadline_list_v1(rules, 'ignore_only')) THEN
            RETURN '';
        END IF;
        after := public.threadline_masked_v1(after - hidden, rules -> 'mask');
        hidden := hidden || public.threadline_list_v1(rules, 'except_columns');
        changed := CASE operation WHEN 'UPDATE' THEN ARRAY(SELECT f FROM unnest(changed) f WHERE f <> ALL (hidden) ORDER BY f COLLATE "C") END;
        before := public.threadline_masked_v1(before - hidden, rules -> 'mask');
    END IF;
    IF NOT rules ? 'store_changed_from' THEN
        before := NULL;
    END IF;

    tx := public.threadline_transaction_id_v1();
    -- The usual case, without a call: the same command wrote before.
    IF (current_setting('threadline.open', true) = tx::text || '-' || coalesce(current_setting('threadline.actor_ref', true), '') || E'\x01' || command
        AND NOT rules ? 'require_actor') IS NOT TRUE
    THEN
        state := public.threadline_enter_v1(tx, coalesce(current_setting('threadline.actor_ref', true), ''),
            coalesce(current_setting('threadline.open', true), ''), command, rules ->> 'require_actor', relation_schema, relation_name);
    END IF;
    INSERT INTO public.audit_changes
        (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk,
         data_after, changed_fields, changed_from)
    VALUES
        (nextval('public.audit_changes_id_seq'), hashtextextended(pk::text, 0), clock_timestamp(), tx, target,
         relation_schema, relation_name, lower(operation), pk, after, changed, before);
    IF state = '!' THEN
        PERFORM public.threadline_seal_again_v1(tx);
    END IF;
    RETURN CASE WHEN state <> '-' OR rules ? 'key_deferrable' THEN 'overtaken' ELSE '' END;
END $$;

-- The columns that are stored only when they change, and did not; NULL if there is none or the key changed.
CREATE OR REPLACE FUNCTION public.threadline_unchanged_v1(rules jsonb, changed text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT jsonb_object_agg(u, NULL) FROM jsonb_array_elements_text(rules -> 'on_change') u
    WHERE u <> ALL (changed) AND NOT rules -> 'key' ?| changed
$$;

-- Ends a quick pass over the rows of a statement: their images don't show what changed.
CREATE OR REPLACE FUNCTION public.threadline_inexact_v1() RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'threadline: the images of a row don''t show what changed';
END $$;

-- Records many row changes of one statement: what threadline_record_v1 does, for arrays of images. `changes` has the
-- changed columns where they are known. An UPDATE of a key is recorded as the delete under the old key; its other half by
-- the operation 'MOVE', once all old keys are free. Returns '' or 'overtaken', as threadline_record_v1
-- does, with 'moved' behind it if a key changed.
CREATE OR REPLACE FUNCTION public.threadline_record_rows_v1(
    rules jsonb, operation text, command text, before jsonb[], after jsonb[], changes jsonb[]
) RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan -- planning takes longer than recording a few rows
AS $$
DECLARE
    target CONSTANT integer := rules -> 'table_id';
    target_schema CONSTANT pg_catalog.text := rules ->> 'table_schema';
    target_name CONSTANT pg_catalog.text := rules ->> 'table_name';
    key_column CONSTANT pg_catalog.text := rules ->> 'key_column';
    exclude CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'exclude');
    hidden CONSTANT pg_catalog.text[] := exclude || public.threadline_list_v1(rules, 'except_columns');
    ignored CONSTANT pg_catalog.text[] := exclude || public.threadline_list_v1(rules, 'ignore_only');
    store_changed_from CONSTANT boolean := rules ? 'store_changed_from';
    mask CONSTANT pg_catalog.jsonb := rules -> 'mask';
    on_change CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'on_change');
    tx CONSTANT pg_catalog.uuid := public.threadline_transaction_id_v1();
    state pg_catalog.text;
    moved boolean;
BEGIN
    state := public.threadline_enter_v1(tx, coalesce(current_setting('threadline.actor_ref', true), ''),
        coalesce(current_setting('threadline.open', true), ''), command, rules ->> 'require_actor', target_schema, target_name);
    WITH line AS (
        INSERT INTO public.audit_changes
            (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk,
             data_after, changed_fields, changed_from)
        SELECT nextval('public.audit_changes_id_seq'), hashtextextended(c.pk::text, 0), clock_timestamp(), tx, target,
            target_schema, target_name, c.op, c.pk,
            CASE WHEN c.op = 'delete' THEN NULL
                WHEN mask IS NULL THEN c.after - exclude ELSE public.threadline_masked_v1(c.after - exclude, mask) END,
            c.changed,
            CASE WHEN c.op = 'insert' OR NOT store_changed_from THEN NULL
                WHEN mask IS NULL THEN c.prior - hidden ELSE public.threadline_masked_v1(c.prior - hidden, mask) END
        FROM (
            SELECT k.op, CASE k.op WHEN 'insert' THEN k.new_key ELSE k.old_key END AS pk,
                CASE k.op WHEN 'update' THEN k.after - ARRAY(SELECT u FROM unnest(on_change) u WHERE u <> ALL (d.changed)) ELSE k.after END AS after,
                CASE k.op WHEN 'update' THEN ARRAY(SELECT f FROM unnest(d.changed) f WHERE f <> ALL (hidden)) END AS changed,
                CASE k.op WHEN 'update' THEN coalesce(d.prior, '{}') ELSE k.before END AS prior,
                k.op = 'update' AND d.changed <> '{}' AND d.changed <@ ignored AS unseen
            FROM (
                SELECT i.*, CASE WHEN operation IN ('INSERT', 'MOVE') THEN 'insert'
                    WHEN operation = 'UPDATE' AND i.old_key = i.new_key THEN 'update' ELSE 'delete' END AS op
                FROM (
                    SELECT p.before, p.after, p.changed,
                        CASE WHEN p.before IS NOT NULL THEN public.threadline_key_v1(rules, key_column, p.before) END AS old_key,
                        CASE WHEN p.after IS NOT NULL THEN public.threadline_key_v1(rules, key_column, p.after) END AS new_key
                    FROM unnest(before, after, changes) p(before, after, changed)
                    OFFSET 0) i
                WHERE operation <> 'MOVE' OR i.old_key <> i.new_key
                OFFSET 0) k
            LEFT JOIN LATERAL (
                SELECT array_agg(f ORDER BY f COLLATE "C") AS changed, jsonb_object_agg(f, k.before -> f) AS prior
                FROM (SELECT e.key AS f FROM jsonb_each_text(CASE k.op WHEN 'update' THEN k.before END) e
                      WHERE k.changed IS NULL AND k.after ->> e.key IS DISTINCT FROM e.value
                      UNION ALL SELECT jsonb_array_elements_text(k.changed)) e) d ON k.op = 'update'
            -- The text of a jsonb value doesn't tell 1 from "1": where the images don't show it, the rows have to.
            WHERE k.op <> 'update' OR k.changed IS NOT NULL
                OR CASE WHEN d.changed IS NULL OR k.before - d.changed <> k.after - d.changed THEN public.threadline_inexact_v1() ELSE true END
            OFFSET 0) c
        WHERE NOT c.unseen
        RETURNING op)
    SELECT bool_or(op = 'delete') INTO moved FROM line;
    IF state = '!' THEN
        PERFORM public.threadline_seal_again_v1(tx);
    END IF;
    RETURN CASE WHEN state <> '-' OR rules ? 'key_deferrable' THEN 'overtaken' ELSE '' END || CASE WHEN operation = 'UPDATE' AND moved THEN 'moved' ELSE '' END;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_record_v1(jsonb, oid, text, text, text, text, text, text[], jsonb, jsonb, text[], boolean),
    public.threadline_record_rows_v1(jsonb, text, text, jsonb[], jsonb[], jsonb[])
FROM PUBLIC;
