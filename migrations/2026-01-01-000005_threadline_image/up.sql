-- What the trigger functions of audited tables lean on: their rows as images, and the rows that have to be read again.

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

-- Whether a trigger goes on to record: not for TRUNCATE, which is dealt with here, nor where capture is switched off.
CREATE OR REPLACE FUNCTION public.threadline_admit_v1(
    rules jsonb, relation oid, relation_schema text, relation_name text, operation text, moment text
) RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    IF relation_name <> rules ->> 'table_name' OR relation_schema <> rules ->> 'table_schema' THEN
        PERFORM public.threadline_verify_v1(relation, rules ->> 'table_schema', rules ->> 'table_name');
    END IF;
    IF current_setting('threadline.capture', true) = 'off' THEN
        PERFORM public.threadline_bypass_v1((rules -> 'table_id')::integer, rules ->> 'table_schema', rules ->> 'table_name');
        RETURN false;
    ELSIF operation = 'TRUNCATE' THEN
        PERFORM public.threadline_truncate_v1(rules, relation, moment);
        RETURN false;
    END IF;
    RETURN true;
END $$;

-- A table with redaction has a column that nobody knew when it was captured. If a redacted one is gone, it was probably
-- renamed; else the new one may be computed from a redacted one. Nothing may be stored in the clear.
CREATE OR REPLACE FUNCTION public.threadline_verify_columns_v1(
    relation regclass, rules jsonb, image jsonb, known_columns text[]
) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    redacted CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'redacted');
    missing pg_catalog.text;
BEGIN
    SELECT string_agg(r, ', ' ORDER BY r) INTO missing FROM unnest(redacted) r WHERE NOT image ? r;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'threadline: table %.% lost its redacted column % and has an unknown column %', rules ->> 'table_schema', rules ->> 'table_name', missing,
            (SELECT string_agg(c, ', ' ORDER BY c) FROM jsonb_object_keys(image - known_columns) c)
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Redact the column under its new name, run `threadline generate` and the new migration.';
    END IF;
    PERFORM public.threadline_check_redaction_v1(relation, redacted, '{}');
END $$;

-- Columns of a row, each as its text.
CREATE OR REPLACE FUNCTION public.threadline_texts_v1(source anyelement, columns text[]) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    texts pg_catalog.jsonb;
BEGIN
    EXECUTE format('SELECT jsonb_build_object(%s)', (SELECT string_agg(format('%1$L, ($1).%1$I::text', c), ', ') FROM unnest(columns) c))
        INTO texts USING source;
    RETURN texts;
END $$;

-- The image of a row, whatever is in it. What to_jsonb() can't make, or makes too large, is made column by column: a value
-- above the limit is left out, a json value that jsonb can't hold is kept as text, and no redacted value is looked at, since
-- the digest of one would give it away.
CREATE OR REPLACE FUNCTION public.threadline_image_v1(source anyelement, rules jsonb) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    max_value_bytes CONSTANT integer := rules -> 'max_value_bytes';
    hidden CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'redacted');
    as_text CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'as_text');
    image pg_catalog.jsonb := '{}';
    value pg_catalog.jsonb;
    bytes bigint;
    field pg_catalog.record;
BEGIN
    BEGIN
        IF pg_column_size(source) <= max_value_bytes THEN
            image := to_jsonb(source);
            IF as_text <> '{}' THEN
                image := image || public.threadline_texts_v1(source, as_text);
            END IF;
            IF pg_column_size(image) <= max_value_bytes THEN
                RETURN image;
            END IF;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    image := '{}';
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
                    EXECUTE format(CASE WHEN field.name = ANY (as_text) THEN 'SELECT to_jsonb(($1).%I::text)' ELSE 'SELECT to_jsonb(($1).%I)' END, field.name)
                        INTO value USING source;
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
    comparison pg_catalog.text;
    differing pg_catalog.text[];
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
-- `gone` says that the row was recorded as gone, and not as `source`.
-- A row that row level security hides would be recorded as gone: with row_security off, reading it is an error instead.
CREATE OR REPLACE FUNCTION public.threadline_settle_v1(
    source anyelement, gone boolean, rules jsonb
) RETURNS void
LANGUAGE plpgsql SET row_security = off
AS $$
DECLARE
    target CONSTANT pg_catalog.regclass := format('%I.%I', rules ->> 'table_schema', rules ->> 'table_name');
    image pg_catalog.jsonb;
    live pg_catalog.jsonb;
    changed pg_catalog.text[];
BEGIN
    -- t.* is the row also where a column is called t. A row of a partition has another type, and shows what changed by its
    -- image alone.
    EXECUTE format('SELECT public.threadline_image_v1(t.*, $2), %s FROM %s t WHERE %s',
        CASE WHEN pg_typeof(source) = (SELECT c.reltype FROM pg_catalog.pg_class c WHERE c.oid = target)
            THEN 'public.threadline_differences_v1($1, t.*)' ELSE 'NULL::text[]' END, target,
        (SELECT string_agg(format('t.%1$I = ($1).%1$I', k), ' AND ') FROM jsonb_array_elements_text(rules -> 'key') k))
        INTO live, changed USING source, rules;
    IF NOT gone THEN
        image := public.threadline_image_v1(source, rules);
    END IF;
    IF live IS NULL AND image IS NULL OR NOT gone AND changed = '{}' THEN
        RETURN;
    END IF;
    PERFORM public.threadline_record_v1(rules, NULL, rules ->> 'table_schema', rules ->> 'table_name',
        CASE WHEN live IS NULL THEN 'DELETE' WHEN image IS NULL THEN 'INSERT' ELSE 'UPDATE' END, NULL, NULL,
        ARRAY(SELECT k FROM jsonb_object_keys(live) k ORDER BY k COLLATE "C"), image, live,
        CASE WHEN live IS NOT NULL AND image IS NOT NULL THEN changed END, true);
END $$;

-- What a statement trigger asks of its rows, as SQL, because only the trigger's own queries see them:
--   pairs  both images of every row that changed, and where
--   gone   settles the keys that rows left and that somebody lives under
--   kept   settles the rows that are not what lives under their key
CREATE OR REPLACE FUNCTION public.threadline_rows_query_v1(purpose text, operation text, rules jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    target CONSTANT pg_catalog.text := format('%I.%I', rules ->> 'table_schema', rules ->> 'table_name');
    deleted CONSTANT pg_catalog.text := format('SELECT NULL::%1$s AS n, "!old"::%1$s AS o FROM old_rows "!old"', target);
    inserted CONSTANT pg_catalog.text := format('SELECT "!new"::%1$s AS n, NULL::%1$s AS o FROM new_rows "!new"', target);
    updated CONSTANT pg_catalog.text := format('SELECT n.n, o.o FROM (SELECT row_number() OVER () AS i, "!old"::%1$s AS o FROM old_rows "!old") o
        FULL JOIN (SELECT row_number() OVER () AS i, "!new"::%1$s AS n FROM new_rows "!new") n USING (i)', target);
    source CONSTANT pg_catalog.text := CASE operation WHEN 'INSERT' THEN inserted WHEN 'DELETE' THEN deleted ELSE updated END;
    same_key CONSTANT pg_catalog.text := (SELECT string_agg(format('t.%1$I = (p.%%1$s).%1$I', k), ' AND ') FROM jsonb_array_elements_text(rules -> 'key') k);
BEGIN
    RETURN CASE purpose
        WHEN 'pairs' THEN format('SELECT CASE WHEN p.o IS DISTINCT FROM NULL THEN public.threadline_image_v1(p.o, $1) END AS before,
            CASE WHEN p.n IS DISTINCT FROM NULL THEN public.threadline_image_v1(p.n, $1) END AS after,
            %s AS changed FROM (%s OFFSET 0) p %s',
            CASE operation WHEN 'UPDATE' THEN 'to_jsonb(public.threadline_differences_v1(p.o, p.n))' ELSE 'NULL::jsonb' END,
            source, CASE operation WHEN 'UPDATE' THEN 'WHERE p.o *<> p.n' ELSE '' END)
        WHEN 'gone' THEN format('SELECT public.threadline_settle_v1(p.o, true, $1) FROM (%s OFFSET 0) p JOIN %s t ON %s %s',
            source, target, format(same_key, 'o'), CASE operation WHEN 'UPDATE' THEN
                format('WHERE NOT EXISTS (SELECT FROM new_rows t WHERE %s)', format(same_key, 'o')) ELSE '' END)
        WHEN 'kept' THEN format('SELECT public.threadline_settle_v1(p.n, false, $1) FROM (%s OFFSET 0) p LEFT JOIN %s t ON %s
            WHERE t.* *<> p.n OR t.* IS NOT DISTINCT FROM NULL', source, target, format(same_key, 'n'))
    END;
END $$;

-- Records a row as gone, for each row of one table; partitions stand for themselves.
CREATE OR REPLACE FUNCTION public.threadline_record_gone_v1(rules jsonb, relation regclass) RETURNS void
LANGUAGE plpgsql SET row_security = off
AS $$
BEGIN
    EXECUTE format('SELECT public.threadline_record_v1($1, NULL, $1 ->> ''table_schema'', $1 ->> ''table_name'', ''DELETE'', NULL, NULL, NULL,
        public.threadline_image_v1(t.*, $1), NULL, NULL, true) FROM ONLY %s t', relation) USING rules;
END $$;

-- TRUNCATE of a table is one line, or one for each row, or refused. A partition that is truncated alone would take rows away
-- without a trace: refused.
CREATE OR REPLACE FUNCTION public.threadline_truncate_v1(rules jsonb, relation regclass, moment text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    root CONSTANT pg_catalog.regclass := format('%I.%I', rules ->> 'table_schema', rules ->> 'table_name');
    newest pg_catalog.record;
BEGIN
    IF rules ->> 'truncate' = 'refuse' THEN
        RAISE EXCEPTION 'threadline: TRUNCATE of % is refused', relation
            USING ERRCODE = 'insufficient_privilege', HINT = format('DELETE its rows: each is recorded. %s says truncate = refuse.', root);
    ELSIF moment = 'BEFORE' THEN
        PERFORM public.threadline_record_gone_v1(rules, relation);
    ELSIF relation = root THEN
        PERFORM public.threadline_record_v1(rules, NULL, NULL, NULL, 'TRUNCATE', NULL, NULL, NULL, NULL, NULL, NULL, true);
    ELSE
        -- Truncating the whole table fires the partitions' triggers too, after its own line was written.
        SELECT op, transaction_id INTO newest FROM public.audit_changes
        WHERE table_id = (rules -> 'table_id')::integer ORDER BY captured_at DESC, id DESC LIMIT 1;
        IF newest.op IS DISTINCT FROM 'truncate' OR newest.transaction_id <> public.threadline_transaction_id_v1() THEN
            RAISE EXCEPTION 'threadline: TRUNCATE of partition % alone would not be recorded', relation
                USING ERRCODE = 'feature_not_supported',
                      HINT = format('DELETE its rows, TRUNCATE %s as a whole, or let the model say truncate = rows.', root);
        END IF;
    END IF;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_admit_v1(jsonb, oid, text, text, text, text),
    public.threadline_texts_v1(anyelement, text[]),
    public.threadline_image_v1(anyelement, jsonb),
    public.threadline_differences_v1(anyelement, anyelement),
    public.threadline_settle_v1(anyelement, boolean, jsonb),
    public.threadline_record_gone_v1(jsonb, regclass),
    public.threadline_truncate_v1(jsonb, regclass, text)
FROM PUBLIC;
