-- What is looked up, and refused, when a table is captured.

-- Whether equal keys of this type always print alike, so that a key finds its history.
CREATE OR REPLACE FUNCTION public.threadline_key_type_v1(type oid, typmod integer, collation_oid oid) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT CASE
        WHEN t.typtype = 'd' THEN public.threadline_key_type_v1(t.typbasetype, t.typtypmod, collation_oid)
        WHEN t.typtype = 'e' THEN true
        WHEN t.typname IN ('numeric', 'bpchar') AND typmod = -1 THEN false
        ELSE t.typnamespace = 'pg_catalog'::regnamespace AND t.typname = ANY ('{numeric,int2,int4,int8,text,varchar,bpchar,name,char,uuid,bool,date,time,timestamp,timestamptz,bytea,inet,cidr,macaddr,macaddr8,bit,varbit,oid,pg_lsn,xid8}')
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_collation c WHERE c.oid = collation_oid AND NOT c.collisdeterministic)
    END
    FROM pg_catalog.pg_type t WHERE t.oid = type
$$;

-- The key of a table, checked: the columns asked for, or its primary key.
CREATE OR REPLACE FUNCTION public.threadline_checked_key_v1(relation regclass, wanted text[]) RETURNS text[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    key_columns pg_catalog.text[] := wanted;
    problem pg_catalog.record;
BEGIN
    IF key_columns IS NULL THEN
        SELECT array_agg(a.attname::text ORDER BY k.position) INTO key_columns
        FROM pg_catalog.pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, position)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = relation AND i.indisprimary AND k.position <= i.indnkeyatts;
        IF key_columns IS NULL THEN
            RAISE EXCEPTION 'threadline: table % has no primary key', relation
                USING ERRCODE = 'invalid_table_definition',
                      HINT = 'Add one, or declare the columns of a unique index over NOT NULL columns as its key: #[audited(primary_key(column, ...))].';
        END IF;
    END IF;

    SELECT k.name, a.attnum IS NULL AS missing, NOT a.attnotnull AS nullable, format_type(a.atttypid, a.atttypmod) AS type
        INTO problem
    FROM unnest(key_columns) k(name)
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = relation AND a.attname = k.name AND a.attnum > 0 AND NOT a.attisdropped
    WHERE a.attnum IS NULL OR NOT a.attnotnull OR NOT public.threadline_key_type_v1(a.atttypid, a.atttypmod, a.attcollation)
    LIMIT 1;
    IF problem.missing THEN
        RAISE EXCEPTION 'threadline: table % has no key column %', relation, problem.name
            USING ERRCODE = 'undefined_column', HINT = 'Correct the key in the model, run `threadline generate` and the new migration.';
    ELSIF problem.nullable THEN
        RAISE EXCEPTION 'threadline: key column % of table % may be NULL', problem.name, relation
            USING ERRCODE = 'invalid_table_definition', HINT = 'ALTER TABLE ... ALTER COLUMN ... SET NOT NULL first, or declare another key.';
    ELSIF problem.name IS NOT NULL THEN
        RAISE EXCEPTION 'threadline: key column % of table % is of type %, whose equal values may print differently', problem.name, relation, problem.type
            USING ERRCODE = 'feature_not_supported', HINT = 'Declare a key of another type; numeric needs a scale, such as numeric(20,0).';
    END IF;

    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i
        WHERE i.indrelid = relation AND (i.indisprimary
              OR (i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL))
          AND (SELECT array_agg(a.attname::text ORDER BY a.attname)
               FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, position)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
               WHERE k.position <= i.indnkeyatts)
              = (SELECT array_agg(k ORDER BY k) FROM unnest(key_columns) k)
    ) THEN
        RAISE EXCEPTION 'threadline: the columns % of table % are not its primary key, nor those of a valid, immediate, non-partial unique index', key_columns, relation
            USING ERRCODE = 'invalid_table_definition', HINT = 'Create such an index first, or declare another key.';
    END IF;
    RETURN key_columns;
END $$;

-- Refuses redaction that would leak: of columns that don't exist, or that a stored generated column is computed from.
CREATE OR REPLACE FUNCTION public.threadline_check_redaction_v1(relation regclass, redacted text[], listed text[]) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    problem pg_catalog.record;
BEGIN
    SELECT l.name INTO problem FROM unnest(listed) l(name)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attname = l.name AND a.attnum > 0 AND NOT a.attisdropped);
    IF FOUND THEN
        RAISE EXCEPTION 'threadline: table % has no column %, which its capture rules name', relation, problem.name
            USING ERRCODE = 'undefined_column', HINT = 'Correct the rules in the model, run `threadline generate` and the new migration.';
    END IF;
    -- Which columns a generated column reads is recorded between it and them, or through its default.
    SELECT g.attname AS generated, s.attname AS source INTO problem
    FROM pg_catalog.pg_attribute g
    LEFT JOIN pg_catalog.pg_attrdef e ON e.adrelid = g.attrelid AND e.adnum = g.attnum
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = relation AND d.refobjsubid > 0
        AND ((d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid)
             OR (d.classid = 'pg_class'::regclass AND d.objid = relation AND d.objsubid = g.attnum))
    JOIN pg_catalog.pg_attribute s ON s.attrelid = relation AND s.attnum = d.refobjsubid
    WHERE g.attrelid = relation AND g.attgenerated <> '' AND s.attnum <> g.attnum
      AND s.attname = ANY (redacted) AND g.attname <> ALL (redacted)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'threadline: column % of table % is computed from the redacted column %', problem.generated, relation, problem.source
            USING ERRCODE = 'invalid_column_definition', HINT = format('Exclude or mask %s too.', problem.generated);
    END IF;
END $$;

-- Values that rows from before a column have, as PostgreSQL remembers them until it rewrites the table: arrays of one, of any
-- type and with its delimiter. Of a partitioned table, its partitions remember them; a value that these don't agree on is omitted.
CREATE OR REPLACE FUNCTION public.threadline_added_columns_v1(relation regclass, hidden text[]) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    WITH RECURSIVE tree(oid) AS (
        SELECT relation::oid
        UNION
        SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid JOIN pg_catalog.pg_class p ON p.oid = tree.oid AND p.relkind = 'p')
    SELECT coalesce(jsonb_object_agg(f.name, CASE cardinality(f.filled) WHEN 1 THEN f.filled[1] ELSE '{"$threadline": "omitted"}' END), '{}')
    FROM (
        SELECT a.attname AS name, array_agg(DISTINCT CASE
            WHEN a.atttypid = ANY ('{json,jsonb}'::regtype[]) THEN array_to_string(a.attmissingval, '')::jsonb
            ELSE to_jsonb(array_to_string(a.attmissingval, '')) END) AS filled
        FROM tree JOIN pg_catalog.pg_attribute a ON a.attrelid = tree.oid
        WHERE a.atthasmissing AND NOT a.attisdropped AND a.attname <> ALL (hidden)
        GROUP BY 1) f
$$;

-- Whether a type is stored as its text, because JSON would lose some of it: it has a cast to json that makes something else
-- of it, as hstore does, or is made of such a type; or it is made of arrays of JSON, whose own arrays would become further
-- dimensions.
CREATE OR REPLACE FUNCTION public.threadline_as_text_v1(type oid) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM public.threadline_type_parts_v1(type) part
        WHERE part = ANY ('{json[],jsonb[]}'::regtype[])
           OR part >= 16384 AND EXISTS (SELECT FROM pg_catalog.pg_cast c WHERE c.castsource = part AND c.casttarget = 'json'::regtype))
$$;

-- What only the catalog knows of how a table is captured; see threadline_record_v1.
CREATE OR REPLACE FUNCTION public.threadline_bound_rules_v1(relation regclass, keys text[], rules jsonb) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'key', keys,
        'key_deferrable', (SELECT true FROM pg_catalog.pg_index i WHERE i.indrelid = relation AND i.indisprimary AND NOT i.indimmediate),
        'key_column', CASE WHEN cardinality(keys) = 1 THEN keys[1] END,
        -- A virtual column has no value in a trigger.
        'exclude', nullif((SELECT coalesce(jsonb_agg(e ORDER BY e), '[]') FROM (
            SELECT unnest(public.threadline_list_v1(rules, 'exclude'))
            UNION SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attgenerated = 'v' AND NOT a.attisdropped) x(e)), '[]'),
        'as_text', nullif((SELECT coalesce(jsonb_agg(a.attname::text ORDER BY a.attnum), '[]') FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v' AND public.threadline_as_text_v1(a.atttypid)), '[]'),
        -- A value that jsonb can't hold, or a type whose output function is anybody's. Without one, to_jsonb() doesn't fail.
        'fallible', (SELECT true FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL public.threadline_type_parts_v1(a.atttypid) part
            JOIN pg_catalog.pg_type t ON t.oid = part
            WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
              AND (part = 'json'::regtype OR part >= 16384 AND t.typtype <> 'e') LIMIT 1),
        -- A json value can change without its jsonb form changing.
        'inexact', nullif((SELECT coalesce(jsonb_agg(a.attname::text ORDER BY a.attnum), '[]')
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
            WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
              AND ('json' IN (t.typname, e.typname, b.typname) OR 'c' IN (t.typtype, e.typtype, b.typtype))), '[]')))
$$;

-- Whether all triggers of a table's capture are there and enabled: those of its rows, by row or by statement, and of TRUNCATE.
CREATE OR REPLACE FUNCTION public.threadline_is_captured_v1(relation oid) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT count(*) FILTER (WHERE t.tgname = '!threadline') * 3 + count(*) FILTER (WHERE t.tgname IN ('!threadline_insert', '!threadline_update', '!threadline_delete')) >= 3
        AND count(*) FILTER (WHERE t.tgname IN ('!threadline_truncate', '~threadline_truncate')) > 0
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = relation AND t.tgenabled IN ('O', 'A') AND p.proname ~ '^threadline_capture_' AND p.pronamespace = 'public'::regnamespace
$$;

-- Statement triggers see the rows of one table, and only through that table.
CREATE OR REPLACE FUNCTION public.threadline_check_statement_level_v1(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_catalog.pg_class c WHERE c.oid = relation) THEN
        RAISE EXCEPTION 'threadline: table % is partitioned and can''t be captured by statement', relation
            USING ERRCODE = 'feature_not_supported', HINT = 'A write to one of its partitions would not be seen. Take level = statement away from its model.';
    ELSIF EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE relation IN (i.inhrelid, i.inhparent)) THEN
        RAISE EXCEPTION 'threadline: table % takes part in inheritance and can''t be captured by statement', relation
            USING ERRCODE = 'feature_not_supported', HINT = 'Rows of several tables would be recorded as its own. Take level = statement away from its model.';
    ELSIF EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attgenerated = 'v' AND NOT a.attisdropped) THEN
        RAISE EXCEPTION 'threadline: table % has a virtual column and can''t be captured by statement', relation
            USING ERRCODE = 'feature_not_supported', HINT = 'PostgreSQL can''t read the rows of a statement with one. Take level = statement away from its model.';
    END IF;
END $$;
