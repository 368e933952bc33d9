-- How a table gets its trigger function, and loses it: what generated migrations call.

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
    key_columns text[] := wanted;
    problem record;
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
                      HINT = 'Add one, or declare the columns of a unique index over NOT NULL columns as its key: #[audited(primary_key(column, …))].';
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
            USING ERRCODE = 'undefined_column', HINT = 'Correct the key in the model and generate the migration again.';
    ELSIF problem.nullable THEN
        RAISE EXCEPTION 'threadline: key column % of table % may be NULL', problem.name, relation
            USING ERRCODE = 'invalid_table_definition', HINT = 'ALTER TABLE … ALTER COLUMN … SET NOT NULL first, or declare another key.';
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
    problem record;
BEGIN
    SELECT l.name INTO problem FROM unnest(listed) l(name)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attname = l.name AND a.attnum > 0 AND NOT a.attisdropped);
    IF FOUND THEN
        RAISE EXCEPTION 'threadline: table % has no column %, which its capture rules name', relation, problem.name
            USING ERRCODE = 'undefined_column', HINT = 'Correct the rules and generate the migration again.';
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

-- Values that rows from before a column have, as PostgreSQL remembers them until it rewrites the table.
CREATE OR REPLACE FUNCTION public.threadline_added_columns_v1(relation regclass, hidden text[]) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(jsonb_object_agg(a.attname, CASE
        WHEN a.atttypid = ANY ('{json,jsonb}'::regtype[]) THEN (a.attmissingval::text::text[])[1]::jsonb
        ELSE to_jsonb((a.attmissingval::text::text[])[1]) END), '{}')
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = relation AND a.atthasmissing AND NOT a.attisdropped AND a.attname <> ALL (hidden)
$$;

-- Captures a table, or brings a captured one to a new policy. Called by generated migrations, as the table's owner.
-- Either all of it happens or none.
CREATE OR REPLACE FUNCTION public.threadline_capture_v1(
    relation regclass, target text, key_columns text[], redacted jsonb, listed_columns text[],
    former_names text[], former_columns jsonb, fingerprint text, lock_timeout text, body text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
AS $$
#variable_conflict use_variable
DECLARE
    catalog record;
    attached integer;
    registered public.audit_tables;
    keys text[];
    known text[];
    virtual text[];
    hidden text[];
    inexact boolean;
    function_name text;
    log_owner name;
    leaf regclass;
    holder regclass;
    populated boolean;
    refusal text;
    next_step text;
BEGIN
    PERFORM set_config('lock_timeout', lock_timeout, true);
    IF relation IS NULL THEN
        RAISE EXCEPTION 'threadline: table % does not exist', target
            USING ERRCODE = 'undefined_table', HINT = 'Create it in an earlier migration, or correct its name or schema in the model.';
    END IF;
    SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind, c.relpersistence, c.relispartition INTO catalog
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF catalog.relkind NOT IN ('r', 'p') OR catalog.relpersistence = 't' THEN
        RAISE EXCEPTION 'threadline: % is not a permanent table', target
            USING ERRCODE = 'wrong_object_type', HINT = 'Only tables can be audited: name the table behind it.';
    ELSIF catalog.relispartition THEN
        RAISE EXCEPTION 'threadline: % is a partition', target
            USING ERRCODE = 'wrong_object_type', HINT = format('Audit the whole table: %s.', pg_partition_root(relation)::regclass);
    ELSIF relation = ANY (ARRAY['public.audit_tables', 'public.audit_transactions', 'public.audit_changes', 'public.audit_actions', 'public.audit_commits']::regclass[]) THEN
        RAISE EXCEPTION 'threadline: % is part of the audit log and can''t be audited', target USING ERRCODE = 'wrong_object_type';
    END IF;

    SELECT substr(p.proname, length('threadline_capture_') + 1)::integer INTO attached
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = relation AND t.tgname = '!threadline' AND p.pronamespace = 'public'::regnamespace;
    IF attached IS NULL THEN
        -- First of all, so that nobody writes between the checks and the trigger. A new policy needs no lock.
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relation);
    END IF;
    keys := public.threadline_checked_key_v1(relation, key_columns);
    SELECT coalesce(array_agg(k), '{}') INTO hidden FROM jsonb_object_keys(redacted) k;
    IF keys && hidden THEN
        RAISE EXCEPTION 'threadline: key column % of table % can''t be excluded or masked', (SELECT k FROM unnest(keys) k WHERE k = ANY (hidden) LIMIT 1), relation
            USING ERRCODE = 'invalid_column_definition', HINT = 'History finds rows by it: redact another column, or declare another key.';
    END IF;
    PERFORM public.threadline_check_redaction_v1(relation, hidden, listed_columns);
    SELECT array_agg(a.attname::text ORDER BY a.attnum), coalesce(array_agg(a.attname::text) FILTER (WHERE a.attgenerated = 'v'), '{}'),
           -- A json value can change without its jsonb form changing.
           coalesce(bool_or('json' IN (t.typname, e.typname, b.typname) OR 'c' IN (t.typtype, e.typtype, b.typtype)), false)
        INTO known, virtual, inexact
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type e ON e.oid = t.typelem LEFT JOIN pg_type b ON b.oid = t.typbasetype
    WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped;

    -- The table keeps its entry, and with it its history, through renames: the trigger knows it, or a former name.
    SELECT * INTO registered FROM public.audit_tables t
    WHERE t.id = attached
       OR attached IS NULL AND t.table_schema = catalog.schema AND (t.table_name = catalog.name OR t.table_name = ANY (former_names))
    ORDER BY t.table_name = catalog.name DESC LIMIT 1;
    IF registered.id IS NULL THEN
        INSERT INTO public.audit_tables AS t (table_schema, table_name, key_columns, fingerprint, function_version)
        VALUES (catalog.schema, catalog.name, keys, fingerprint, 1) RETURNING * INTO registered;
    END IF;
    function_name := 'threadline_capture_' || registered.id;
    SELECT t.tgrelid::regclass INTO holder FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE p.proname = function_name AND p.pronamespace = 'public'::regnamespace
      AND pg_partition_root(t.tgrelid) IS DISTINCT FROM relation AND t.tgrelid <> relation LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'threadline: table % records as %.%', holder, catalog.schema, catalog.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('It was renamed: migrate it first, with a model that says formerly = "%s".', catalog.name);
    END IF;

    EXECUTE format($function$
CREATE OR REPLACE FUNCTION public.%I() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
AS %L
$function$, function_name, format($bound$
DECLARE
    table_id CONSTANT integer := %s;
    table_schema CONSTANT text := %L;
    table_name CONSTANT text := %L;
    key_columns CONSTANT text[] := %L;
    known_columns CONSTANT text[] := %L;
    virtual_columns CONSTANT text[] := %L;
    inexact CONSTANT boolean := %L;
    key_deferrable CONSTANT boolean := %L;
BEGIN
%s
END $bound$, registered.id, catalog.schema, catalog.name, keys, known, virtual, inexact,
        EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relation AND i.indisprimary AND NOT i.indimmediate), body));

    -- Names that begin with "!" sort before every other trigger, and AFTER ROW triggers fire by name.
    IF attached IS NULL THEN
        EXECUTE format('CREATE TRIGGER "!threadline" AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION public.%I()', relation, function_name);
    END IF;
    -- Not BEFORE: what other triggers write to the table before its rows go has to stand before this line.
    FOR leaf IN SELECT relation UNION SELECT p.relid FROM pg_partition_tree(relation) p LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = leaf AND t.tgname = '!threadline_truncate') THEN
            EXECUTE format('CREATE TRIGGER "!threadline_truncate" AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION public.%I()', leaf, function_name);
        END IF;
    END LOOP;

    SELECT pg_get_userbyid(c.relowner) INTO log_owner FROM pg_class c WHERE c.oid = 'public.audit_changes'::regclass;
    IF log_owner <> (SELECT pg_get_userbyid(p.proowner) FROM pg_proc p WHERE p.oid = format('public.%I()', function_name)::regprocedure) THEN
        EXECUTE format('ALTER FUNCTION public.%I() OWNER TO %I', function_name, log_owner);
        -- The owner of the log reads a row again when nested triggers overtook each other.
        IF NOT has_schema_privilege(log_owner, catalog.schema, 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', catalog.schema, log_owner);
        END IF;
        -- Without the right to grant it, GRANT only warns.
        IF NOT has_schema_privilege(log_owner, catalog.schema, 'USAGE') THEN
            RAISE EXCEPTION 'threadline: role %, which owns the log, may not look into schema %', log_owner, catalog.schema
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('Let the owner of the schema run: GRANT USAGE ON SCHEMA %I TO %I;', catalog.schema, log_owner);
        END IF;
        EXECUTE format('GRANT SELECT ON %s TO %I', relation, log_owner);
    END IF;
    EXECUTE format('REVOKE ALL ON FUNCTION public.%I() FROM PUBLIC', function_name);

    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', relation) INTO populated;
    UPDATE public.audit_tables t SET
        table_schema = catalog.schema,
        table_name = catalog.name,
        former_names = CASE WHEN t.table_name = catalog.name THEN t.former_names ELSE t.table_name || t.former_names END,
        key_columns = keys,
        -- Captured again after a pause: what happened in between is not known.
        gaps = CASE WHEN t.installed_at IS NULL AND cardinality(t.gaps) > 0
               THEN t.gaps[:cardinality(t.gaps) - 1] || tstzrange(lower(t.gaps[cardinality(t.gaps)]), clock_timestamp())
               ELSE t.gaps END,
        installed_at = coalesce(t.installed_at, clock_timestamp()),
        horizon = CASE WHEN t.installed_at IS NULL THEN CASE WHEN populated THEN NULL ELSE clock_timestamp() END ELSE t.horizon END,
        fingerprint = threadline_capture_v1.fingerprint,
        function_version = 1,
        redacted = (SELECT coalesce(jsonb_object_agg(r.name, r.placeholders), '{}') FROM (
            SELECT e.key AS name, coalesce(jsonb_agg(DISTINCT p.value) FILTER (WHERE p.value IS NOT NULL), '[]') AS placeholders
            FROM (SELECT key, value FROM jsonb_each(t.redacted) UNION ALL SELECT key, CASE WHEN value = 'null' THEN '[]' ELSE jsonb_build_array(value) END FROM jsonb_each(threadline_capture_v1.redacted)) e
            LEFT JOIN LATERAL jsonb_array_elements(e.value) p ON true GROUP BY e.key) r),
        former_columns = t.former_columns || threadline_capture_v1.former_columns,
        added_columns = t.added_columns || public.threadline_added_columns_v1(relation, hidden)
    WHERE t.id = registered.id;
EXCEPTION
    WHEN lock_not_available THEN
        RAISE EXCEPTION E'threadline: table % stayed in use for %\nRun the migration again when the transactions that use it have ended.', target, lock_timeout
            USING ERRCODE = 'lock_not_available';
    WHEN OTHERS THEN
        -- Diesel shows the message of an error and drops its hint: what to do next has to be in the message.
        GET STACKED DIAGNOSTICS refusal = MESSAGE_TEXT, next_step = PG_EXCEPTION_HINT;
        RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = concat_ws(E'\n', refusal,
            nullif(next_step, '') || ' Should you generate the migration again, remove this one first.');
END $$;

-- Ends the capture of a table. Its history stays.
CREATE OR REPLACE FUNCTION public.threadline_release_v1(relation regclass, target text, lock_timeout text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    registered public.audit_tables;
    leaf regclass;
BEGIN
    PERFORM set_config('lock_timeout', lock_timeout, true);
    IF relation IS NULL THEN
        -- The table is gone, and its triggers with it.
        UPDATE public.audit_tables t SET installed_at = NULL, horizon = NULL
        WHERE target IN (t.table_name, t.table_schema || '.' || t.table_name)
          AND to_regclass(format('%I.%I', t.table_schema, t.table_name)) IS NULL;
        RETURN;
    END IF;
    SELECT t.* INTO registered FROM public.audit_tables t
    JOIN pg_class c ON c.oid = relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.table_schema = n.nspname AND t.table_name = c.relname;
    EXECUTE format('DROP TRIGGER IF EXISTS "!threadline" ON %s', relation);
    FOR leaf IN SELECT relation UNION SELECT p.relid FROM pg_partition_tree(relation) p LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS "!threadline_truncate" ON %s', leaf);
    END LOOP;
    IF registered.id IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format('DROP FUNCTION IF EXISTS public.%I()', 'threadline_capture_' || registered.id);
    UPDATE public.audit_tables t SET
        installed_at = NULL, horizon = NULL,
        gaps = CASE WHEN t.installed_at IS NULL THEN t.gaps ELSE t.gaps || tstzrange(clock_timestamp(), NULL) END
    WHERE t.id = registered.id;
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION E'threadline: table % stayed in use for %\nRun the migration again when the transactions that use it have ended.', target, lock_timeout
        USING ERRCODE = 'lock_not_available';
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_capture_v1(regclass, text, text[], jsonb, text[], text[], jsonb, text, text, text),
    public.threadline_release_v1(regclass, text, text)
FROM PUBLIC;
