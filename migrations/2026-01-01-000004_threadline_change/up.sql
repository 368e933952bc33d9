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

-- An image with the placeholders of masked columns that have a value. Without a query, which auto_explain could log with the
-- values that are kept out: so it is wherever images go.
CREATE OR REPLACE FUNCTION public.threadline_masked_v1(image jsonb, mask jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    field pg_catalog.text;
BEGIN
    IF image IS NOT NULL AND mask IS NOT NULL THEN
        FOREACH field IN ARRAY ARRAY(SELECT jsonb_object_keys(mask)) LOOP
            IF image -> field <> 'null' THEN
                image := image || jsonb_build_object(field, mask -> field);
            END IF;
        END LOOP;
    END IF;
    RETURN image;
END $$;

-- Whether a value of an image is, or holds, an object with the member that marks what stands in place of a value. The
-- application's own has to be quoted: see threadline_quoted_v1. Inlined.
CREATE OR REPLACE FUNCTION public.threadline_is_marked_v1(image jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$ SELECT coalesce(image @? '$.*."$threadline"', false) $$;

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
    pk pg_catalog.jsonb := '{}';
    field pg_catalog.text;
BEGIN
    FOREACH field IN ARRAY public.threadline_list_v1(rules, 'key') LOOP
        pk := pk || jsonb_build_object(field, image ->> field);
    END LOOP;
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
--   NULL     nothing was recorded: the images don't show everything, so look at the rows, and pass careful ones and what changed
--   ''       nothing
--   'left'   a row left its key, and another may live under it
--   'kept'   the new version was locked or superseded: `version_xmax`
-- `relation`, its schema and name are what fired the trigger, `operation` and `trigger_when` are those of the trigger; without
-- one, `relation` and `trigger_when` are NULL. `changed` are columns that changed although their images may not show it; if the
-- images are careful, all that changed. `columns` are those of the table in the order of their names, as far as they are known. `careful` says
-- that the images were made column by column where they had to be.
--
-- PL/pgSQL initialises every simple expression once per transaction, so few large expressions beat many small ones. Values are
-- computed into variables first: expressions inside the INSERT are set up at each execution. Arguments of calls have exactly
-- the types of the parameters, so that no other function of the name is a better match.
CREATE OR REPLACE FUNCTION public.threadline_record_v1(
    rules jsonb, relation oid, relation_schema text, relation_name text, operation text, trigger_when text,
    columns text[], before jsonb, after jsonb, changed text[], careful boolean, version_xmax xid
) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    target CONSTANT integer := rules -> 'table_id';
    key_column CONSTANT pg_catalog.text := rules ->> 'key_column';
    setting CONSTANT pg_catalog.text := coalesce(current_setting('threadline.actor_ref', true), '');
    mark CONSTANT pg_catalog.text := current_setting('threadline.open', true);
    place pg_catalog.text := public.threadline_place_v1(mark);
    spot pg_catalog.tid;
    locked boolean := false;
    pk pg_catalog.jsonb;
    prior pg_catalog.jsonb;
    field pg_catalog.text;
    seen pg_catalog.text[];
    hidden pg_catalog.text[];
    required pg_catalog.text;
    unattributed boolean;
    tx pg_catalog.uuid;
BEGIN
    IF relation_name <> rules ->> 'table_name' OR relation_schema <> rules ->> 'table_schema' OR operation = 'TRUNCATE'
        OR current_setting('threadline.capture', true) = 'off'
    THEN
        IF NOT careful THEN
            IF NOT public.threadline_admit_v1(rules, relation, relation_schema, relation_name, operation, trigger_when) THEN
                RETURN '';
            END IF;
        END IF;
        relation_schema := rules ->> 'table_schema';
        relation_name := rules ->> 'table_name';
    END IF;
    IF NOT careful AND (coalesce(greatest(pg_column_size(before), pg_column_size(after)) > (rules -> 'max_value_bytes')::integer, true)
        OR public.threadline_is_marked_v1(coalesce(after, before)))
    THEN
        RETURN NULL;
    END IF;
    pk := CASE WHEN operation = 'TRUNCATE' THEN '{}'::pg_catalog.jsonb ELSE public.threadline_key_v1(rules, key_column, coalesce(before, after)) END;
    IF operation = 'UPDATE' THEN
        IF pk <> public.threadline_key_v1(rules, key_column, after) THEN
            IF NOT careful AND public.threadline_is_marked_v1(before) THEN
                RETURN NULL;
            END IF;
            field := public.threadline_record_v1(rules, relation, relation_schema, relation_name, 'DELETE'::pg_catalog.text, NULL::pg_catalog.text,
                columns, before, NULL::pg_catalog.jsonb, NULL::pg_catalog.text[], true, NULL::pg_catalog.xid);
            field := public.threadline_record_v1(rules, relation, relation_schema, relation_name, 'INSERT'::pg_catalog.text, NULL::pg_catalog.text,
                columns, NULL::pg_catalog.jsonb, after, NULL::pg_catalog.text[], true, NULL::pg_catalog.xid);
            RETURN 'left';
        END IF;
        prior := '{}'::pg_catalog.jsonb;
        IF NOT careful THEN
            seen := changed;
            changed := NULL;
            -- A loop: a query over jsonb_each_text() takes three times as long.
            FOREACH field IN ARRAY columns LOOP
                IF before ->> field IS DISTINCT FROM after ->> field OR field = ANY (seen) THEN
                    changed := changed || field;
                    prior := prior || jsonb_build_object(field, before -> field);
                END IF;
            END LOOP;
        ELSE
            FOREACH field IN ARRAY changed LOOP
                prior := prior || jsonb_build_object(field, before -> field);
            END LOOP;
        END IF;
        -- The text of a jsonb value doesn't tell 1 from "1", and there may be columns that are not known yet.
        IF NOT careful AND (changed IS NULL OR after || prior <> before OR public.threadline_is_marked_v1(prior)) THEN
            RETURN NULL;
        END IF;
        before := prior;
    END IF;
    IF rules ?| '{exclude,redacted,except_columns,ignore_only}' THEN
        IF relation IS NOT NULL AND coalesce(after, before) - columns <> '{}' AND rules ? 'redacted' THEN
            PERFORM public.threadline_verify_columns_v1(relation, rules, public.threadline_columns_of_v1(coalesce(after, before)), columns);
        END IF;
        hidden := public.threadline_list_v1(rules, 'exclude'::pg_catalog.text);
        IF changed <> '{}' AND changed <@ (hidden || public.threadline_list_v1(rules, 'ignore_only'::pg_catalog.text)) THEN
            RETURN '';
        END IF;
        after := public.threadline_masked_v1(after - hidden, rules -> 'mask');
        hidden := hidden || public.threadline_list_v1(rules, 'except_columns'::pg_catalog.text);
        changed := CASE operation WHEN 'UPDATE' THEN ARRAY(SELECT f FROM unnest(changed) f WHERE f <> ALL (hidden) ORDER BY f COLLATE "C") END;
        before := public.threadline_masked_v1(before - hidden, rules -> 'mask');
    END IF;
    IF NOT rules ? 'store_changed_from' THEN
        before := NULL;
    END IF;

    tx := public.threadline_transaction_id_v1();
    required := rules ->> 'require_actor';
    unattributed := setting = '' AND required IS NULL;
    IF place || setting = mark THEN
        spot := place::pg_catalog.tid;
    END IF;
    FOR attempt IN 1..4 LOOP
        IF attempt > 1 OR spot IS NULL THEN
            -- Twice where SET CONSTRAINTS made constraints immediate: then the commit marker comes with the row, and renews it.
            place := public.threadline_enter_v1(tx, setting, required, relation_schema, relation_name);
            spot := ltrim(place, '!')::pg_catalog.tid;
            locked := place LIKE '!%';
        END IF;
        -- A change is inserted only together with a look at the row of its transaction; see threadline_is_open_v1.
        INSERT INTO public.audit_changes
            (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk,
             data_after, changed_fields, changed_from)
        SELECT
            nextval('public.audit_changes_id_seq'), hashtextextended(pk::pg_catalog.text, 0), clock_timestamp(), tx, target,
            relation_schema, relation_name, lower(operation COLLATE pg_catalog."C"), pk, after, changed, before
        FROM public.audit_transactions t
        WHERE t.ctid = spot AND t.id = tx AND (t.xmax = '0' OR locked)
          AND (unattributed OR t.actor_ref IS NOT NULL) AND (required IS DISTINCT FROM 'known' OR t.actor_ref ->> 'type' <> 'anonymous');
        IF FOUND THEN
            -- The counters are PostgreSQL's own. They may show too much, but never too little: a key is taken again by an INSERT or
            -- an UPDATE of this transaction.
            RETURN CASE WHEN version_xmax <> '0' THEN 'kept'
                WHEN operation = 'DELETE' AND (
                    pg_stat_get_xact_tuples_inserted(relation) + pg_stat_get_xact_tuples_updated(relation) > 0
                    OR trigger_when IS NOT NULL AND current_setting('track_counts') = 'off') THEN 'left'
                ELSE '' END;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'threadline: the row of transaction % is not to be found', tx
        USING ERRCODE = 'internal_error', HINT = 'Is there a trigger or a rule on public.audit_transactions that is not Threadline''s?';
END $$;

-- The names of an image's columns.
CREATE OR REPLACE FUNCTION public.threadline_columns_of_v1(image jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET plan_cache_mode = force_generic_plan
AS $$ BEGIN RETURN ARRAY(SELECT jsonb_object_keys(image)); END $$;

-- The columns that are stored only when they change, and did not; none if the key changed.
CREATE OR REPLACE FUNCTION public.threadline_unchanged_v1(rules jsonb, changed text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE
AS $$
    SELECT ARRAY(SELECT u FROM jsonb_array_elements_text(rules -> 'on_change') u
                 WHERE u <> ALL (changed) AND NOT rules -> 'key' ?| changed)
$$;

-- Records many row changes of one statement: what threadline_record_v1 does, for arrays of images and of the places that the rows
-- have in it. `changes` has columns that changed although the images may not show it. An UPDATE of a key is recorded as the delete under the
-- old key; its other half by the operation 'MOVE', once all old keys are free. Returns whether a key changed, and the places
-- of the rows that were left out because their images don't show what changed.
CREATE OR REPLACE FUNCTION public.threadline_record_rows_v1(
    rules jsonb, operation text, places bigint[], before jsonb[], after jsonb[], changes jsonb[], OUT moved boolean, OUT inexact bigint[]
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan -- planning takes longer than recording a few rows, and a plan with values could be logged
AS $$
DECLARE
    target CONSTANT integer := rules -> 'table_id';
    target_schema CONSTANT pg_catalog.text := rules ->> 'table_schema';
    target_name CONSTANT pg_catalog.text := rules ->> 'table_name';
    key_column CONSTANT pg_catalog.text := rules ->> 'key_column';
    exclude CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'exclude'::pg_catalog.text);
    hidden CONSTANT pg_catalog.text[] := exclude || public.threadline_list_v1(rules, 'except_columns'::pg_catalog.text);
    ignored CONSTANT pg_catalog.text[] := exclude || public.threadline_list_v1(rules, 'ignore_only'::pg_catalog.text);
    store_changed_from CONSTANT boolean := rules ? 'store_changed_from';
    mask CONSTANT pg_catalog.jsonb := rules -> 'mask';
    tx CONSTANT pg_catalog.uuid := public.threadline_transaction_id_v1();
    setting CONSTANT pg_catalog.text := coalesce(current_setting('threadline.actor_ref', true), '');
    required CONSTANT pg_catalog.text := rules ->> 'require_actor';
    place pg_catalog.text;
BEGIN
    IF public.threadline_is_open_v1(tx, setting, current_setting('threadline.open', true), required) IS NOT TRUE THEN
        place := public.threadline_enter_v1(tx, setting, required, target_schema, target_name);
    END IF;
    WITH change AS MATERIALIZED (
        SELECT k.place, k.op, CASE k.op WHEN 'insert' THEN k.new_key ELSE k.old_key END AS pk,
            k.after,
            CASE k.op WHEN 'update' THEN ARRAY(SELECT f FROM unnest(d.changed) f WHERE f <> ALL (hidden)) END AS changed,
            CASE k.op WHEN 'update' THEN coalesce(d.prior, '{}') ELSE k.before END AS prior,
            k.op = 'update' AND d.changed <> '{}' AND d.changed <@ ignored AS unseen,
            -- The text of a jsonb value doesn't tell 1 from "1": where the images don't show it, the rows have to.
            k.op = 'update' AND (d.changed IS NULL OR k.before - d.changed <> k.after - d.changed) AS inexact
        FROM (
            SELECT i.*, CASE WHEN operation IN ('INSERT', 'MOVE') THEN 'insert'
                WHEN operation = 'UPDATE' AND i.old_key = i.new_key THEN 'update' ELSE 'delete' END AS op
            FROM (
                SELECT p.place, p.before, p.after, p.changed,
                    CASE WHEN p.before IS NOT NULL THEN public.threadline_key_v1(rules, key_column, p.before) END AS old_key,
                    CASE WHEN p.after IS NOT NULL THEN public.threadline_key_v1(rules, key_column, p.after) END AS new_key
                FROM unnest(places, before, after, changes) p(place, before, after, changed)
                OFFSET 0) i
            WHERE operation <> 'MOVE' OR i.old_key <> i.new_key
            OFFSET 0) k
        LEFT JOIN LATERAL (
            SELECT array_agg(f ORDER BY f COLLATE "C") AS changed, jsonb_object_agg(f, k.before -> f) AS prior
            FROM (SELECT e.key AS f FROM jsonb_each_text(CASE k.op WHEN 'update' THEN k.before END) e
                  WHERE k.after ->> e.key IS DISTINCT FROM e.value
                  UNION SELECT jsonb_array_elements_text(k.changed)) e) d ON k.op = 'update'),
    recorded AS (
        INSERT INTO public.audit_changes
            (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk,
             data_after, changed_fields, changed_from)
        SELECT nextval('public.audit_changes_id_seq'), hashtextextended(c.pk::pg_catalog.text, 0), clock_timestamp(), tx, target,
            target_schema, target_name, c.op, c.pk,
            CASE WHEN c.op = 'delete' THEN NULL
                WHEN mask IS NULL THEN c.after - exclude ELSE public.threadline_masked_v1(c.after - exclude, mask) END,
            c.changed,
            CASE WHEN c.op = 'insert' OR NOT store_changed_from THEN NULL
                WHEN mask IS NULL THEN c.prior - hidden ELSE public.threadline_masked_v1(c.prior - hidden, mask) END
        FROM change c
        WHERE NOT coalesce(c.unseen, false) AND NOT c.inexact
        RETURNING op)
    SELECT operation = 'UPDATE' AND coalesce((SELECT bool_or(r.op = 'delete') FROM recorded r), false),
        ARRAY(SELECT c.place FROM change c WHERE c.inexact)
        INTO moved, inexact;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_record_v1(jsonb, oid, text, text, text, text, text[], jsonb, jsonb, text[], boolean, xid),
    public.threadline_record_rows_v1(jsonb, text, bigint[], jsonb[], jsonb[], jsonb[])
FROM PUBLIC;
