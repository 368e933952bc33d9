-- What the trigger functions of audited tables lean on.

-- A capture function only serves its own table and that table's partitions.
CREATE OR REPLACE FUNCTION public.threadline_verify_v1(relation oid, target_schema text, target_name text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = pg_catalog.pg_partition_root(relation) AND n.nspname = target_schema AND c.relname = target_name
    ) THEN
        RAISE EXCEPTION 'threadline: table % is captured as %.%', relation::regclass, target_schema, target_name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('If it was renamed, say so in the model (formerly = "%s"), run `threadline generate` and the new migration.', target_name);
    END IF;
END $$;

-- A redacted column that is gone while an unknown one appeared was probably renamed: nothing may be stored in the clear.
CREATE OR REPLACE FUNCTION public.threadline_verify_columns_v1(
    columns text[], target_schema text, target_name text, known_columns text[], redacted text[]
) RETURNS void
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    missing text := (SELECT string_agg(r, ', ' ORDER BY r) FROM unnest(redacted) r WHERE r <> ALL (columns));
    unknown text := (SELECT string_agg(c, ', ' ORDER BY c) FROM unnest(columns) c WHERE c <> ALL (known_columns));
BEGIN
    IF missing IS NOT NULL AND unknown IS NOT NULL THEN
        RAISE EXCEPTION 'threadline: table %.% lost its redacted column % and has an unknown column %', target_schema, target_name, missing, unknown
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Redact the column under its new name, run `threadline generate` and the new migration.';
    END IF;
END $$;

-- The image of a row that to_jsonb() can't make, or that holds a very large value: column by column. A value above the
-- limit is left out, a json value that jsonb can't hold is kept as text, and no redacted value is looked at, since the
-- digest of one would give it away.
CREATE OR REPLACE FUNCTION public.threadline_image_v1(source anyelement, hidden text[], max_value_bytes integer) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    image jsonb := '{}';
    value jsonb;
    bytes bigint;
    field record;
BEGIN
    FOR field IN
        SELECT a.attname::text AS name, f.typoutput = 'byteaout'::regproc AS binary, a.attlen = -1 AS variable
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.typrelid = a.attrelid
        JOIN pg_catalog.pg_type f ON f.oid = a.atttypid -- a domain prints as the type that it is made of
        WHERE t.oid = pg_typeof(source) AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        value := NULL;
        IF field.name = ANY (hidden) THEN
            EXECUTE format('SELECT CASE WHEN ($1).%I IS DISTINCT FROM NULL THEN ''""''::jsonb END', field.name) INTO value USING source;
        ELSE
            IF field.variable THEN
                EXECUTE format(CASE WHEN field.binary THEN 'SELECT octet_length(($1).%I)' ELSE 'SELECT octet_length(($1).%I::text)' END, field.name)
                    INTO bytes USING source;
            ELSE
                bytes := NULL;
            END IF;
            IF bytes > max_value_bytes THEN
                EXECUTE format(
                    CASE WHEN field.binary THEN 'SELECT jsonb_build_object(''$threadline'', ''omitted'', ''bytes'', $2, ''sha256'', encode(sha256(($1).%I), ''hex''))'
                    ELSE 'SELECT jsonb_build_object(''$threadline'', ''omitted'', ''bytes'', $2, ''sha256'', encode(sha256(convert_to(($1).%I::text, getdatabaseencoding())), ''hex''))' END,
                    field.name) INTO value USING source, bytes;
            ELSE
                BEGIN
                    EXECUTE format('SELECT to_jsonb(($1).%I)', field.name) INTO value USING source;
                EXCEPTION WHEN OTHERS THEN
                    EXECUTE format('SELECT to_jsonb(($1).%I::text)', field.name) INTO value USING source;
                END;
            END IF;
        END IF;
        image := image || jsonb_build_object(field.name, value);
    END LOOP;
    RETURN image;
END $$;

-- The columns in which two versions of a row differ, to the last bit.
CREATE OR REPLACE FUNCTION public.threadline_differences_v1(old_row anyelement, new_row anyelement) RETURNS text[]
LANGUAGE plpgsql
AS $$
DECLARE
    comparison text;
    differing text[];
BEGIN
    -- Subselects, because a comparison of ROW(…) with ROW(…) asks for the operators of the columns' types.
    SELECT string_agg(format('CASE WHEN (SELECT o FROM (SELECT ($1).%1$I AS value) o) OPERATOR(pg_catalog.*<>) (SELECT n FROM (SELECT ($2).%1$I AS value) n) THEN %1$L END', a.attname), ', ' ORDER BY a.attname COLLATE "C")
        INTO comparison
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.typrelid = a.attrelid
    WHERE t.oid = pg_typeof(old_row) AND a.attnum > 0 AND NOT a.attisdropped;
    EXECUTE format('SELECT array_remove(ARRAY[%s]::text[], NULL)', comparison) INTO differing USING old_row, new_row;
    RETURN differing;
END $$;

-- Looks at the row that lives under the key of `source` now, and records it if the log's newest line says otherwise.
-- `image` is what was recorded of the row; NULL if it was recorded as gone.
-- A row that row level security hides would be recorded as gone: with row_security off, reading it is an error instead.
CREATE OR REPLACE FUNCTION public.threadline_settle_v1(
    source anyelement, image jsonb, target integer, target_schema text, target_name text, key_columns text[],
    exclude text[], mask jsonb, except_columns text[], ignore_only text[], store_changed_from boolean, required text,
    max_value_bytes integer
) RETURNS void
LANGUAGE plpgsql SET row_security = off
AS $$
DECLARE
    live jsonb;
    operation text;
    hidden text[] := exclude || ARRAY(SELECT jsonb_object_keys(mask));
BEGIN
    -- t.* is the row also where a column is called t.
    EXECUTE format('SELECT public.threadline_image_v1(t.*, $2, $3) FROM %I.%I t WHERE %s', target_schema, target_name,
        (SELECT string_agg(format('t.%1$I = ($1).%1$I', k), ' AND ') FROM unnest(key_columns) k))
        INTO live USING source, hidden, max_value_bytes;
    IF image IS NOT NULL THEN
        image := public.threadline_image_v1(source, hidden, max_value_bytes);
    END IF;
    operation := CASE WHEN live IS NULL THEN 'DELETE' WHEN image IS NULL THEN 'INSERT' ELSE 'UPDATE' END;
    IF live IS NOT NULL OR image IS NOT NULL THEN
        PERFORM public.threadline_record_v1(target, target_schema, target_name, key_columns, operation, image, live, NULL,
            exclude, mask, except_columns, ignore_only, store_changed_from, required);
    END IF;
END $$;

-- TRUNCATE of a table is one line. A partition that is truncated alone would take rows away without a trace: refused.
CREATE OR REPLACE FUNCTION public.threadline_truncate_v1(
    target integer, target_schema text, target_name text, truncated_schema text, truncated_name text, required text
) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    newest record;
BEGIN
    IF truncated_name = target_name AND truncated_schema = target_schema THEN
        PERFORM public.threadline_append_v1(target, target_schema, target_name, 'truncate', '{}', NULL, NULL, NULL, required);
        RETURN;
    END IF;
    -- Truncating the whole table fires the partitions' triggers too, after its own line was written.
    SELECT op, transaction_id INTO newest FROM public.audit_changes
    WHERE table_id = target ORDER BY captured_at DESC, id DESC LIMIT 1;
    IF newest.op IS DISTINCT FROM 'truncate' OR newest.transaction_id <> public.threadline_transaction_id_v1() THEN
        RAISE EXCEPTION 'threadline: TRUNCATE of partition %.% alone would not be recorded', truncated_schema, truncated_name
            USING ERRCODE = 'feature_not_supported',
                  HINT = format('DELETE its rows, or TRUNCATE %I.%I as a whole.', target_schema, target_name);
    END IF;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_image_v1(anyelement, text[], integer),
    public.threadline_differences_v1(anyelement, anyelement),
    public.threadline_settle_v1(anyelement, jsonb, integer, text, text, text[], text[], jsonb, text[], text[], boolean, text, integer),
    public.threadline_truncate_v1(integer, text, text, text, text, text)
FROM PUBLIC;
