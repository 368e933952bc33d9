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
    rules jsonb, relation oid, relation_schema text, relation_name text, operation text, trigger_when text
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
        PERFORM public.threadline_truncate_v1(rules, relation::pg_catalog.regclass, trigger_when);
        RETURN false;
    END IF;
    RETURN true;
END $$;

-- A table with redaction has a column that nobody knew when it was captured. If a redacted one was renamed, it would be stored in
-- the clear: PostgreSQL keeps its number. Where numbers tell nothing, as in a restored copy, one that is gone counts as renamed.
-- Or the new column may be computed from a redacted one.
CREATE OR REPLACE FUNCTION public.threadline_verify_columns_v1(
    relation oid, rules jsonb, present text[], known_columns text[]
) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    redacted CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'redacted'::pg_catalog.text);
    root CONSTANT pg_catalog.oid := coalesce(pg_partition_root(relation::pg_catalog.regclass), relation::pg_catalog.regclass);
    target CONSTANT integer := rules -> 'table_id';
    was CONSTANT pg_catalog.jsonb := (SELECT t.identity FROM public.audit_tables t WHERE t.id = target);
    is_same CONSTANT boolean := coalesce((was -> 'log')::bigint = 'public.audit_changes'::pg_catalog.regclass::pg_catalog.oid::bigint
        AND was ->> 'cluster' = (SELECT s.system_identifier::pg_catalog.text FROM pg_control_system() s) AND (was -> 'relation')::bigint = root::bigint, false);
    missing pg_catalog.text;
BEGIN
    SELECT string_agg(r, ', ' ORDER BY r) INTO missing FROM unnest(redacted) r
    WHERE CASE WHEN is_same AND was -> 'columns' ? r THEN EXISTS (
            SELECT FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = root AND a.attnum = (was -> 'columns' -> r -> 0)::integer AND NOT a.attisdropped AND a.attname::pg_catalog.text <> ALL (redacted))
        ELSE r <> ALL (present) END;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'threadline: table %.% lost its redacted column % and has an unknown column %', rules ->> 'table_schema', rules ->> 'table_name', missing,
            (SELECT string_agg(c, ', ' ORDER BY c) FROM unnest(present) c WHERE c <> ALL (known_columns))
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Redact the column under its new name, run `threadline generate` and the new migration.';
    END IF;
    PERFORM public.threadline_check_redaction_v1(relation::pg_catalog.regclass, redacted, '{}'::pg_catalog.text[]);
END $$;

-- A json value as jsonb, from its text; what jsonb can't hold as a string: `fallback`.
CREATE OR REPLACE FUNCTION public.threadline_json_v1(value text, fallback text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    RETURN value::pg_catalog.jsonb;
EXCEPTION WHEN OTHERS THEN
    RETURN to_jsonb(fallback);
END $$;

-- A value of the application as it stands in an image. One that could be taken for what stands in place of a value, an object
-- with the member $threadline, is quoted: {"$threadline": "value", "value": ...}.
CREATE OR REPLACE FUNCTION public.threadline_quoted_v1(value jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    RETURN CASE WHEN jsonb_typeof(value) = 'object' AND value ? '$threadline'
        THEN jsonb_build_object('$threadline', 'value', 'value', value) ELSE value END;
END $$;

-- A type and all that it is made of: elements, columns, what a domain is over.
CREATE OR REPLACE FUNCTION public.threadline_type_parts_v1(type oid) RETURNS SETOF oid
LANGUAGE sql STABLE
AS $$
    WITH RECURSIVE part(oid) AS (
        SELECT type
        UNION
        SELECT inner_type FROM part JOIN pg_catalog.pg_type t ON t.oid = part.oid
        LEFT JOIN pg_catalog.pg_attribute a ON t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        CROSS JOIN LATERAL unnest(ARRAY[nullif(t.typelem, 0), nullif(t.typbasetype, 0), a.atttypid]) inner_type
        WHERE inner_type IS NOT NULL
    )
    SELECT part.oid FROM part
$$;

-- The image of a row whatever is in it, as an SQL expression over a row that is called `source`, without the columns `skip`: a
-- value above the limit is left out, one that could be taken for that is quoted, a json value that jsonb can't hold is kept as text. Of an excluded or masked column only
-- whether it has a value is looked at, since the digest of one would give it away. No code of a type's owner is called:
-- concat() prints with the type's output function, where a cast to text or json may be anybody's.
CREATE OR REPLACE FUNCTION public.threadline_image_sql_v1(relation oid, rules jsonb, source text, skip text[]) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    max_value_bytes CONSTANT integer := rules -> 'max_value_bytes';
    hidden CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'redacted'::pg_catalog.text);
    as_text CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'as_text'::pg_catalog.text);
    omitted CONSTANT pg_catalog.text := 'pg_catalog.jsonb_build_object(''$threadline'', ''omitted'', ''bytes'', pg_catalog.octet_length(%1$s), ''sha256'', pg_catalog.encode(pg_catalog.sha256(%2$s), ''hex''))';
    field pg_catalog.record;
    value pg_catalog.text;
    printed pg_catalog.text;
    image pg_catalog.text;
BEGIN
    FOR field IN
        SELECT a.attname::pg_catalog.text AS name, format('%s.%I', source, a.attname) AS value, a.attlen = -1 AS variable,
            CASE f.typtype WHEN 'd' THEN public.threadline_base_type_v1(f.oid) ELSE f.oid END = ANY ('{text,varchar}'::pg_catalog.regtype[]) AS is_text,
            f.typoutput = 'pg_catalog.byteaout'::pg_catalog.regproc AS binary, -- a domain prints as the type that it is made of
            f.oid < 16384 AND f.typelem = 0 AND f.oid <> 'pg_catalog.jsonb'::pg_catalog.regtype AS scalar,
            -- PostgreSQL's own types that are made of no other have no cast of anybody's: the usual case, and quick.
            CASE WHEN f.oid < 16384 AND f.typelem = 0 THEN false ELSE public.threadline_as_text_v1(f.oid) END AS as_text,
            CASE WHEN f.oid < 16384 AND f.typelem = 0 THEN f.oid = 'pg_catalog.json'::pg_catalog.regtype ELSE 'pg_catalog.json'::pg_catalog.regtype IN (SELECT public.threadline_type_parts_v1(f.oid)) END AS json
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type f ON f.oid = a.atttypid
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (skip)
        ORDER BY a.attnum
    LOOP
        printed := CASE WHEN field.is_text THEN field.value ELSE format('CASE WHEN %1$s IS DISTINCT FROM NULL THEN pg_catalog.concat(%1$s) END', field.value) END;
        IF field.name = ANY (hidden) THEN
            value := format('CASE WHEN %s IS DISTINCT FROM NULL THEN ''""''::pg_catalog.jsonb END', field.value);
        ELSIF field.as_text OR field.name = ANY (as_text) THEN
            value := format('pg_catalog.to_jsonb(%s)', printed);
        ELSIF field.json THEN
            value := format('public.threadline_quoted_v1(public.threadline_json_v1(pg_catalog.to_json(%s)::pg_catalog.text, %s))', field.value, printed);
        ELSE
            value := format(CASE WHEN field.scalar THEN 'pg_catalog.to_jsonb(%s)' ELSE 'public.threadline_quoted_v1(pg_catalog.to_jsonb(%s))' END, field.value);
        END IF;
        IF field.variable AND field.name <> ALL (hidden) THEN
            value := format('CASE WHEN pg_catalog.octet_length(%1$s) > %2$s THEN %3$s ELSE %4$s END',
                CASE WHEN field.binary THEN field.value ELSE printed END, max_value_bytes,
                CASE WHEN field.binary THEN format(omitted, field.value, field.value)
                    ELSE format(omitted, printed, format('pg_catalog.convert_to(%s, pg_catalog.getdatabaseencoding())', printed)) END,
                value);
        END IF;
        image := concat_ws(', ', image, format('(%L, %s)', field.name, value));
    END LOOP;
    RETURN CASE WHEN image IS NULL THEN quote_literal('{}') || '::pg_catalog.jsonb'
        ELSE format('(SELECT pg_catalog.jsonb_object_agg(f.name, f.value) FROM (VALUES %s) f(name, value))', image) END;
END $$;

-- The images of $1 and $2, two versions of a row of this relation, as a query; see threadline_image_sql_v1. The rows are named once: the
-- plan has a copy of a parameter for each place where it stands.
CREATE OR REPLACE FUNCTION public.threadline_images_query_v1(relation oid, rules jsonb, operation text, skip text[]) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN format('SELECT %s, %s FROM (SELECT %s OFFSET 0) p',
        CASE WHEN operation = 'INSERT' THEN 'NULL::pg_catalog.jsonb' ELSE public.threadline_image_sql_v1(relation, rules, '(p.o)'::pg_catalog.text, skip) END,
        CASE WHEN operation = 'DELETE' THEN 'NULL::pg_catalog.jsonb' ELSE public.threadline_image_sql_v1(relation, rules, '(p.n)'::pg_catalog.text, skip) END,
        CASE operation WHEN 'INSERT' THEN '$2 AS n' WHEN 'DELETE' THEN '$1 AS o' ELSE '$1 AS o, $2 AS n' END);
END $$;

-- The columns in which two versions of a row differ, to the last bit, as an SQL expression over two rows.
CREATE OR REPLACE FUNCTION public.threadline_differences_sql_v1(relation oid, old_row text, new_row text) RETURNS text
LANGUAGE sql STABLE
AS $$
    -- record_image_ne(), because the operator between ROW(...) and ROW(...) asks for those of the columns' types.
    SELECT format('pg_catalog.array_remove(ARRAY[%s]::pg_catalog.text[], NULL)', string_agg(format(
        'CASE WHEN pg_catalog.record_image_ne(ROW(%2$s.%1$I), ROW(%3$s.%1$I)) THEN %1$L END', a.attname, old_row, new_row), ', ' ORDER BY a.attname COLLATE "C"))
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
$$;

-- The type that a domain is made of, through domains over domains.
CREATE OR REPLACE FUNCTION public.threadline_base_type_v1(type oid) RETURNS oid
LANGUAGE sql STABLE
AS $$
    WITH RECURSIVE base(oid) AS (
        SELECT type UNION ALL SELECT t.typbasetype FROM base JOIN pg_catalog.pg_type t ON t.oid = base.oid WHERE t.typtype = 'd')
    SELECT b.oid FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid WHERE t.typtype <> 'd'
$$;

-- The condition that a row `r` has this key, as SQL. The key's values are of the types that domains are made of: a domain's
-- check would run here.
CREATE OR REPLACE FUNCTION public.threadline_key_condition_v1(relation oid, rules jsonb, pk jsonb) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT string_agg(format('r.%I = %L::%s', a.attname, pk ->> a.attname::pg_catalog.text,
        format_type(public.threadline_base_type_v1(a.atttypid), CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END)), ' AND ')
    FROM jsonb_array_elements_text(rules -> 'key') k
    JOIN pg_catalog.pg_attribute a ON a.attrelid = relation AND a.attname = k AND NOT a.attisdropped
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
$$;

-- Whether the log's owner may look at a table without an error, and without rows being hidden from it.
CREATE OR REPLACE FUNCTION public.threadline_may_read_v1(relation oid) RETURNS boolean
LANGUAGE sql STABLE
AS $$ SELECT has_table_privilege(relation, 'SELECT') AND NOT row_security_active(relation) $$;

-- The image of the row that lives under a key now; NULL if there is none. A row that row level security hides would seem gone:
-- with row_security off, reading it is an error instead. Only here, since plans that depend on it are made anew when it changes.
CREATE OR REPLACE FUNCTION public.threadline_current_image_v1(rules jsonb, pk jsonb) RETURNS jsonb
LANGUAGE plpgsql SET row_security = off
AS $$
DECLARE
    target CONSTANT pg_catalog.regclass := format('%I.%I', rules ->> 'table_schema', rules ->> 'table_name');
    image pg_catalog.jsonb;
BEGIN
    EXECUTE format('SELECT %s FROM %s r WHERE %s',
        public.threadline_image_sql_v1(target::pg_catalog.oid, rules, 'r'::pg_catalog.text, '{}'::pg_catalog.text[]), target,
        public.threadline_key_condition_v1(target::pg_catalog.oid, rules, pk)) INTO image;
    RETURN image;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'threadline: role %, which owns the log, can''t read table % again after another command wrote to it: %', current_user, target, SQLERRM
        USING ERRCODE = 'insufficient_privilege',
              HINT = format('GRANT SELECT ON %1$s TO %2$I; where row level security is enabled, also ALTER ROLE %2$I BYPASSRLS.', target, current_user);
END $$;

-- Looks at the row that lives under the key of `key_image` now, and records it if it isn't what was `recorded`, the image of
-- the newest change about the row; NULL if that says that the row is gone.
CREATE OR REPLACE FUNCTION public.threadline_recheck_v1(rules jsonb, key_image jsonb, recorded jsonb) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    redacted CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'redacted'::pg_catalog.text);
    known CONSTANT pg_catalog.jsonb := recorded - public.threadline_list_v1(rules, 'on_change'::pg_catalog.text);
    live CONSTANT pg_catalog.jsonb := public.threadline_current_image_v1(rules, public.threadline_key_of_v1(rules, key_image));
    operation CONSTANT pg_catalog.text := CASE WHEN live IS NULL THEN 'DELETE' WHEN recorded IS NULL THEN 'INSERT' ELSE 'UPDATE' END;
    field pg_catalog.text;
    changed pg_catalog.text[];
BEGIN
    IF operation = 'UPDATE' THEN
        FOREACH field IN ARRAY public.threadline_columns_of_v1(live) LOOP
            IF field <> ALL (redacted) AND (live ->> field IS DISTINCT FROM known ->> field OR live -> field IS DISTINCT FROM known -> field) THEN
                changed := changed || field;
            END IF;
        END LOOP;
        IF changed IS NULL THEN
            RETURN '';
        END IF;
    ELSIF live IS NULL AND recorded IS NULL THEN
        RETURN '';
    END IF;
    RETURN public.threadline_record_v1(rules, NULL::pg_catalog.oid, rules ->> 'table_schema', rules ->> 'table_name', operation, NULL::pg_catalog.text,
        NULL::pg_catalog.text[], recorded, live, changed, true, NULL::pg_catalog.xid);
END $$;

-- What a statement trigger asks of its rows, as SQL, because only the trigger's own queries see them:
--   gone   rechecks the keys that rows left and that somebody lives under
--   kept   rechecks the rows that are not what lives under their key
CREATE OR REPLACE FUNCTION public.threadline_rows_query_v1(purpose text, operation text, rules jsonb) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    target CONSTANT pg_catalog.regclass := format('%I.%I', rules ->> 'table_schema', rules ->> 'table_name');
    deleted CONSTANT pg_catalog.text := format('SELECT NULL::%1$s AS n, "!old"::%1$s AS o FROM old_rows "!old"', target);
    inserted CONSTANT pg_catalog.text := format('SELECT "!new"::%1$s AS n, NULL::%1$s AS o FROM new_rows "!new"', target);
    updated CONSTANT pg_catalog.text := format('SELECT n.n, o.o FROM (SELECT row_number() OVER () AS i, "!old"::%1$s AS o FROM old_rows "!old") o
        FULL JOIN (SELECT row_number() OVER () AS i, "!new"::%1$s AS n FROM new_rows "!new") n USING (i)', target);
    source CONSTANT pg_catalog.text := CASE operation WHEN 'INSERT' THEN inserted WHEN 'DELETE' THEN deleted ELSE updated END;
    old_key CONSTANT pg_catalog.text := (SELECT string_agg(format('t.%1$I = (p.o).%1$I', k), ' AND ') FROM jsonb_array_elements_text(rules -> 'key') k);
    new_key CONSTANT pg_catalog.text := (SELECT string_agg(format('t.%1$I = (p.n).%1$I', k), ' AND ') FROM jsonb_array_elements_text(rules -> 'key') k);
    old_image CONSTANT pg_catalog.text := public.threadline_image_sql_v1(target::pg_catalog.oid, rules, '(p.o)'::pg_catalog.text, '{}'::pg_catalog.text[]);
    new_image CONSTANT pg_catalog.text := public.threadline_image_sql_v1(target::pg_catalog.oid, rules, '(p.n)'::pg_catalog.text, '{}'::pg_catalog.text[]);
BEGIN
    RETURN CASE purpose
        WHEN 'gone' THEN format('SELECT public.threadline_recheck_v1($1, %s, NULL::pg_catalog.jsonb) FROM (%s OFFSET 0) p JOIN %s t ON %s %s',
            old_image, source, target, old_key, CASE operation WHEN 'UPDATE' THEN
                format('WHERE NOT EXISTS (SELECT FROM new_rows t WHERE %s)', old_key) ELSE '' END)
        WHEN 'kept' THEN format('SELECT public.threadline_recheck_v1($1, i.image, i.image) FROM (SELECT %s AS image FROM (%s OFFSET 0) p LEFT JOIN %s t ON %s
            WHERE t.* OPERATOR(pg_catalog.*<>) p.n OR t.* IS NOT DISTINCT FROM NULL OFFSET 0) i', new_image, source, target, new_key)
    END;
END $$;

-- Records a row as gone, for each row of one table; partitions stand for themselves.
CREATE OR REPLACE FUNCTION public.threadline_record_gone_v1(rules jsonb, relation regclass) RETURNS void
LANGUAGE plpgsql SET row_security = off
AS $$
BEGIN
    EXECUTE format('SELECT public.threadline_record_v1($1, NULL::pg_catalog.oid, $1 ->> ''table_schema'', $1 ->> ''table_name'', ''DELETE''::pg_catalog.text, NULL::pg_catalog.text,
        NULL::pg_catalog.text[], i.image, NULL::pg_catalog.jsonb, NULL::pg_catalog.text[], true, NULL::pg_catalog.xid) FROM (SELECT %s AS image FROM ONLY %s r OFFSET 0) i',
        public.threadline_image_sql_v1(relation::pg_catalog.oid, rules, 'r'::pg_catalog.text, '{}'::pg_catalog.text[]), relation) USING rules;
END $$;

-- TRUNCATE of a table is one line, or one for each row, or refused. A partition that is truncated alone would take rows away
-- without a trace: refused.
CREATE OR REPLACE FUNCTION public.threadline_truncate_v1(rules jsonb, relation regclass, trigger_when text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    root CONSTANT pg_catalog.regclass := format('%I.%I', rules ->> 'table_schema', rules ->> 'table_name');
    newest pg_catalog.record;
BEGIN
    IF rules ->> 'truncate' = 'refuse' THEN
        RAISE EXCEPTION 'threadline: TRUNCATE of % is refused', relation
            USING ERRCODE = 'insufficient_privilege', HINT = format('DELETE its rows: each is recorded. %s says truncate = refuse.', root);
    ELSIF trigger_when = 'BEFORE' THEN
        PERFORM public.threadline_record_gone_v1(rules, relation);
    ELSIF relation = root THEN
        PERFORM public.threadline_record_v1(rules, NULL::pg_catalog.oid, NULL::pg_catalog.text, NULL::pg_catalog.text, 'TRUNCATE'::pg_catalog.text,
            NULL::pg_catalog.text, NULL::pg_catalog.text[], NULL::pg_catalog.jsonb, NULL::pg_catalog.jsonb, NULL::pg_catalog.text[], true, NULL::pg_catalog.xid);
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
    public.threadline_image_sql_v1(oid, jsonb, text, text[]),
    public.threadline_images_query_v1(oid, jsonb, text, text[]),
    public.threadline_differences_sql_v1(oid, text, text),
    public.threadline_may_read_v1(oid),
    public.threadline_current_image_v1(jsonb, jsonb),
    public.threadline_recheck_v1(jsonb, jsonb, jsonb),
    public.threadline_rows_query_v1(text, text, jsonb),
    public.threadline_record_gone_v1(jsonb, regclass),
    public.threadline_truncate_v1(jsonb, regclass, text)
FROM PUBLIC;
