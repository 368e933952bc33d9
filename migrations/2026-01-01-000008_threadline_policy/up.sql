-- How a table gets its triggers and their function, and loses them: what generated migrations call.

-- The triggers that rules ask for: on the table, and on its partitions, since TRUNCATE triggers are not inherited.
CREATE OR REPLACE FUNCTION public.threadline_triggers_v1(relation regclass, rules jsonb)
RETURNS TABLE (held_by oid, name name, definition text)
LANGUAGE sql STABLE
AS $$
    -- Names that begin with "!" sort before every other trigger, and AFTER ROW triggers fire by name.
    SELECT relation::oid, t.name::name, t.definition
    FROM (VALUES
        ('row', '!threadline', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW'),
        ('statement', '!threadline_insert', 'AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT'),
        ('statement', '!threadline_update', 'AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT'),
        ('statement', '!threadline_delete', 'AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT')
    ) t(level, name, definition) WHERE t.level = coalesce(rules ->> 'level', 'row')
    UNION ALL
    SELECT l.oid, t.name::name, t.definition
    FROM (SELECT relation::oid UNION SELECT p.relid FROM pg_catalog.pg_partition_tree(relation) p) l(oid)
    JOIN (VALUES
        -- Not BEFORE: what other triggers write to the table before its rows go has to stand before this line.
        (false, '!threadline_truncate', 'AFTER TRUNCATE ON %s FOR EACH STATEMENT'),
        -- The rows are only there before; the name sorts after other triggers'.
        (true, '~threadline_truncate', 'BEFORE TRUNCATE ON %s FOR EACH STATEMENT')
    ) t(rowwise, name, definition) ON t.rowwise = (coalesce(rules ->> 'truncate', '') = 'rows')
$$;

-- What makes the images of a table whose columns need care whatever is in them, as PL/pgSQL over `old_row` and `new_row`. It is
-- written when the table is captured: a query that is written for each row takes forty times as long.
--   as_text     is printed, and left out of what to_jsonb() makes
--   redacted    is left out, too: PL/pgSQL runs an expression that failed as a query for the rest of the transaction, with its values
--   inexact     is compared as it is, since its image may not show that it changed
--   on_change   is not even looked at where it did not change
-- The other columns are not named, so that one that is dropped does no harm.
CREATE OR REPLACE FUNCTION public.threadline_special_images_v1(rules jsonb) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT format($images$
            changed := CASE TG_OP WHEN 'UPDATE' THEN array_remove(ARRAY[%1$s]::text[], NULL) END;
            unchanged := CASE TG_OP WHEN 'UPDATE' THEN public.threadline_unchanged_v1(%2$L::jsonb, changed) ELSE '{}' END;
            hidden_before := '{}';
            hidden_after := '{}';%3$s
            IF greatest(pg_column_size(old_row), pg_column_size(new_row)) <= %4$s THEN
                before := CASE WHEN TG_OP <> 'INSERT' THEN (to_jsonb(old_row) || hidden_before) - unchanged END;
                after := CASE WHEN TG_OP <> 'DELETE' THEN (to_jsonb(new_row) || hidden_after) - unchanged END;
            ELSE
                before := NULL;
                after := NULL;
                changed := NULL;
            END IF;$images$,
        string_agg(format('CASE WHEN record_image_ne(ROW(old_row.%1$I), ROW(new_row.%1$I)) THEN %1$L END', c.name), ', ' ORDER BY c.name COLLATE "C"),
        rules - '{mask,exclude,as_text}'::text[],
        string_agg(CASE WHEN c.value IS NOT NULL THEN format('
            hidden_before := hidden_before || jsonb_build_object(%1$L, CASE WHEN old_row.%1$I IS DISTINCT FROM NULL THEN %2$s END);
            hidden_after := hidden_after || jsonb_build_object(%1$L, CASE WHEN new_row.%1$I IS DISTINCT FROM NULL THEN %3$s END);
            old_row.%1$I := (NULL::%4$I.%5$I).%1$I;
            new_row.%1$I := (NULL::%4$I.%5$I).%1$I;', c.name, format(c.value, 'old_row', c.name), format(c.value, 'new_row', c.name), rules ->> 'table_schema', rules ->> 'table_name')
            WHEN rules -> 'on_change' ? c.name THEN format('
            IF %1$L = ANY (unchanged) THEN
                old_row.%1$I := (NULL::%2$I.%3$I).%1$I;
                new_row.%1$I := (NULL::%2$I.%3$I).%1$I;
            END IF;', c.name, rules ->> 'table_schema', rules ->> 'table_name') END, '' ORDER BY c.name COLLATE "C"),
        rules -> 'max_value_bytes')
    FROM (
        SELECT n.name, CASE WHEN rules -> 'redacted' ? n.name THEN quote_literal('') WHEN rules -> 'as_text' ? n.name THEN 'concat(%s.%I)' END AS value
        FROM unnest('{key,redacted,as_text,inexact,on_change}'::text[]) list(name), unnest(public.threadline_list_v1(rules, list.name)) n(name)
        GROUP BY 1) c
$$;

-- When the images of a table are made so: for every row, for those of an UPDATE, or never; as a condition.
CREATE OR REPLACE FUNCTION public.threadline_is_special_v1(rules jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN rules ? 'as_text' OR rules ?& '{redacted,fallible}' THEN 'true'
        WHEN rules ?| '{inexact,on_change}' THEN '(TG_OP = ''UPDATE'')' ELSE 'false' END
$$;

-- The body of a capture function with what only the catalog knows, names quoted. It is filled in one pass: what takes a place is
-- never looked at again.
CREATE OR REPLACE FUNCTION public.threadline_bound_body_v1(relation regclass, rules jsonb, keys text[], hidden text[], known text[], body text) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT string_agg(piece.text || coalesce(CASE place.name[1]
        WHEN 'rules' THEN quote_literal(rules) || '::jsonb'
        WHEN 'special' THEN public.threadline_is_special_v1(rules)
        WHEN 'images' THEN CASE public.threadline_is_special_v1(rules) WHEN 'false' THEN 'NULL;' ELSE public.threadline_special_images_v1(rules) END
        WHEN 'immediate' THEN CASE WHEN rules ? 'key_deferrable' THEN 'false' ELSE 'true' END -- one row at a time has a key
        WHEN 'known_columns' THEN quote_literal(known) || '::text[]'
        WHEN 'relation' THEN (
            SELECT format('%I.%I', n.nspname, c.relname)
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation)
        WHEN 'same_key' THEN (SELECT string_agg(format('t.%1$I = OLD.%1$I', k), ' AND ') FROM unnest(keys) k)
        WHEN 'version_key' THEN (SELECT string_agg(format('t.%1$I = (r.version).%1$I', k), ' AND ') FROM unnest(keys) k)
        WHEN 'hidden' THEN (
            SELECT string_agg(format($hidden$
        BEGIN
            hidden_before := hidden_before || jsonb_build_object(%2$L, CASE WHEN old_row.%1$I IS DISTINCT FROM NULL THEN '""'::jsonb END);
            hidden_after := hidden_after || jsonb_build_object(%2$L, CASE WHEN new_row.%1$I IS DISTINCT FROM NULL THEN '""'::jsonb END);
            IF record_image_ne(ROW(old_row.%1$I), ROW(new_row.%1$I)) THEN
                changed := changed || %2$L::text;
            END IF;
            -- A NULL of the column's own type: a cast to a domain would run its check.
            old_row.%1$I := (NULL::%3$I.%4$I).%1$I;
            new_row.%1$I := (NULL::%3$I.%4$I).%1$I;
        EXCEPTION WHEN undefined_column THEN
            NULL; -- it was dropped
        END;$hidden$, h, h, rules ->> 'table_schema', rules ->> 'table_name'), '') FROM unnest(hidden) h)
        END, ''), '' ORDER BY piece.number)
    FROM regexp_split_to_table(body, ':(?:rules|special|images|immediate|known_columns|relation|same_key|version_key|hidden)') WITH ORDINALITY piece(text, number)
    LEFT JOIN regexp_matches(body, ':(rules|special|images|immediate|known_columns|relation|same_key|version_key|hidden)', 'g') WITH ORDINALITY place(name, number) USING (number)
$$;

-- The triggers that are there.
CREATE OR REPLACE FUNCTION public.threadline_attached_v1(relation regclass) RETURNS TABLE (held_by oid, name name)
LANGUAGE sql STABLE
AS $$
    SELECT t.tgrelid, t.tgname FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid IN (SELECT relation::oid UNION SELECT l.relid FROM pg_catalog.pg_partition_tree(relation) l)
      AND t.tgname ~ '^[!~]threadline' AND t.tgparentid = 0 AND p.pronamespace = 'public'::regnamespace
$$;

-- Makes sure that the owner of the log can read a table, all of it: capture reads a row again when something wrote in the
-- middle of a statement, and where it can't, it fails the write of an application that knows nothing of this.
CREATE OR REPLACE FUNCTION public.threadline_check_readable_v1(relation regclass, log_owner oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    audited pg_catalog.record;
    reader CONSTANT pg_catalog.text := quote_ident(pg_get_userbyid(log_owner));
    step pg_catalog.record;
BEGIN
    SELECT n.oid AS schema_id, quote_ident(n.nspname) AS schema, n.nspowner, c.relowner, quote_ident(pg_get_userbyid(c.relowner)) AS owner,
        c.relrowsecurity, c.relforcerowsecurity INTO audited
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    FOR step IN
        SELECT * FROM (VALUES
            ('USAGE', format('GRANT USAGE ON SCHEMA %s TO %s', audited.schema, reader), 'look into schema ' || audited.schema, 'schema', audited.nspowner),
            ('SELECT', format('GRANT SELECT ON %s TO %s', relation, reader), 'read table ' || relation, 'table', audited.relowner)
        ) s(privilege, remedy, deed, kind, granter)
    LOOP
        CONTINUE WHEN CASE step.privilege WHEN 'USAGE' THEN has_schema_privilege(log_owner, audited.schema_id, 'USAGE') ELSE has_table_privilege(log_owner, relation, 'SELECT') END;
        BEGIN
            EXECUTE step.remedy;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL; -- said below; with some right on it but not that of granting, GRANT only warns
        END;
        IF NOT (CASE step.privilege WHEN 'USAGE' THEN has_schema_privilege(log_owner, audited.schema_id, 'USAGE') ELSE has_table_privilege(log_owner, relation, 'SELECT') END) THEN
            RAISE EXCEPTION 'threadline: role %, which owns the log, may not %', reader, step.deed
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('Let the owner of the %s run: %s;', step.kind, step.remedy);
        END IF;
    END LOOP;
    IF audited.relrowsecurity AND NOT EXISTS (
        SELECT FROM pg_roles r WHERE r.oid = log_owner
            AND (r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, audited.relowner, 'USAGE') AND NOT audited.relforcerowsecurity))
    THEN
        RAISE EXCEPTION 'threadline: row level security hides rows of table % from role %, which owns the log', relation, reader
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('Capture has to read rows again, and would fail writes. Let a superuser run: ALTER ROLE %s BYPASSRLS;%s', reader,
                      CASE WHEN NOT audited.relforcerowsecurity THEN format(' or make it a member of the owner of the table: GRANT %s TO %s;', audited.owner, reader) ELSE '' END);
    END IF;
END $$;

-- Tells the DDL guard that what follows in this transaction is capture's own, until the entry is written again.
CREATE OR REPLACE FUNCTION public.threadline_changing_v1(target integer) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$ UPDATE public.audit_tables t SET identity = t.identity || '{"changing": true}' WHERE t.id = target $$;

-- Captures a table, or brings a captured one to a new policy. Called by generated migrations, as the table's owner.
-- Either all of it happens or none.
CREATE OR REPLACE FUNCTION public.threadline_capture_v1(
    relation regclass, target text, key_columns text[], rules jsonb,
    former_names text[], former_columns jsonb, fingerprint text, lock_timeout text, body text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
AS $$
#variable_conflict use_variable
DECLARE
    catalog pg_catalog.record;
    attached integer;
    captured_at pg_catalog.timestamptz;
    registered public.audit_tables;
    entry public.audit_tables;
    keys pg_catalog.text[];
    known pg_catalog.text[];
    hidden pg_catalog.text[];
    listed pg_catalog.text[];
    level CONSTANT pg_catalog.text := coalesce(rules ->> 'level', 'row');
    bound pg_catalog.jsonb;
    function_name pg_catalog.text;
    changes_triggers boolean;
    wanted pg_catalog.record;
    log_owner pg_catalog.oid;
    holder pg_catalog.regclass;
    populated boolean;
    refusal pg_catalog.text;
    next_step pg_catalog.text;
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
    ELSIF EXISTS (
        SELECT FROM pg_class c WHERE c.relpersistence = 'u' AND c.oid IN (SELECT relation::oid UNION SELECT p.relid FROM pg_partition_tree(relation) p))
    THEN
        RAISE EXCEPTION 'threadline: table % is unlogged', target
            USING ERRCODE = 'feature_not_supported', HINT = 'A crash would empty it, and its history would not know. ALTER TABLE ... SET LOGGED first.';
    ELSIF catalog.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = relation) THEN
        RAISE EXCEPTION 'threadline: table % has tables that inherit from it', target
            USING ERRCODE = 'feature_not_supported', HINT = 'Their rows show in it and fire no trigger of it. Audit each of them, or make it a partitioned table.';
    ELSIF relation = ANY (ARRAY['public.audit_tables', 'public.audit_transactions', 'public.audit_changes', 'public.audit_actions', 'public.audit_commits']::regclass[]) THEN
        RAISE EXCEPTION 'threadline: % is part of the audit log and can''t be audited', target USING ERRCODE = 'wrong_object_type';
    END IF;
    SELECT c.relowner INTO log_owner FROM pg_class c WHERE c.oid = 'public.audit_changes'::regclass;
    PERFORM public.threadline_check_place_v1(ARRAY[log_owner]);

    SELECT substr(p.proname, length('threadline_capture_') + 1)::integer INTO attached
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = relation AND t.tgname LIKE '!threadline%' AND p.pronamespace = 'public'::regnamespace LIMIT 1;
    changes_triggers := EXISTS (
        SELECT t.held_by, t.name FROM public.threadline_triggers_v1(relation, rules) t
        EXCEPT SELECT a.held_by, a.name FROM public.threadline_attached_v1(relation) a);
    IF changes_triggers THEN
        -- First of all, so that nobody writes between the checks and the trigger. A new policy needs no lock.
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relation);
    END IF;
    keys := public.threadline_checked_key_v1(relation, key_columns);
    hidden := public.threadline_list_v1(rules, 'redacted');
    SELECT array_agg(DISTINCT c) INTO listed FROM unnest(ARRAY['exclude', 'except_columns', 'ignore_only', 'on_change', 'redacted']) l
    CROSS JOIN LATERAL unnest(public.threadline_list_v1(rules, l)) c;
    IF keys && hidden THEN
        RAISE EXCEPTION 'threadline: key column % of table % can''t be excluded or masked', (SELECT k FROM unnest(keys) k WHERE k = ANY (hidden) LIMIT 1), relation
            USING ERRCODE = 'invalid_column_definition', HINT = 'History finds rows by it: redact another column, or declare another key.';
    END IF;
    PERFORM public.threadline_check_redaction_v1(relation, hidden, listed);
    IF level = 'statement' THEN
        PERFORM public.threadline_check_statement_level_v1(relation);
    END IF;
    SELECT array_agg(a.attname::text ORDER BY a.attname COLLATE "C") INTO known
    FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped;
    -- The table keeps its entry, and with it its history, through renames: the trigger knows it, or a former name.
    SELECT * INTO registered FROM public.audit_tables t
    WHERE t.id = attached
       OR attached IS NULL AND t.table_schema = catalog.schema AND (t.table_name = catalog.name OR t.table_name = ANY (former_names))
    ORDER BY t.table_name = catalog.name DESC LIMIT 1;
    IF registered.id IS NULL THEN
        INSERT INTO public.audit_tables AS t (table_schema, table_name, key_columns, fingerprint, function_version)
        VALUES (catalog.schema, catalog.name, keys, fingerprint, 1) RETURNING * INTO registered;
    END IF;
    entry := public.threadline_entry_v1(relation, registered.id);
    PERFORM public.threadline_changing_v1(registered.id);
    function_name := 'threadline_capture_' || registered.id;
    bound := rules || public.threadline_bound_rules_v1(relation, keys, rules)
        || jsonb_build_object('table_id', registered.id, 'table_schema', catalog.schema, 'table_name', catalog.name);
    SELECT t.tgrelid::regclass INTO holder FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE p.proname = function_name AND p.pronamespace = 'public'::regnamespace
      AND pg_partition_root(t.tgrelid) IS DISTINCT FROM relation AND t.tgrelid <> relation LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'threadline: table % records as %.%', holder, catalog.schema, catalog.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('It was renamed: migrate it first, with a model that says formerly = "%s".', catalog.name);
    END IF;

    -- A plan that reads all of a small table is kept while the table grows, and locks all of it for a SERIALIZABLE transaction.
    EXECUTE format($function$
CREATE OR REPLACE FUNCTION public.%I() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
SET enable_seqscan = off %s
AS %L
$function$, function_name,
        -- How names of objects print; pinned only where a column holds them, as each pin costs every captured row.
        CASE WHEN EXISTS (
            SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = relation AND NOT a.attisdropped
              AND ARRAY[t.oid, t.typelem, t.typbasetype] && '{regclass,regcollation,regconfig,regdictionary,regnamespace,regoper,regoperator,regproc,regprocedure,regrole,regtype}'::regtype[]::oid[]
        ) THEN 'SET quote_all_identifiers = off' ELSE '' END,
        format(E'\nDECLARE\n%s', public.threadline_bound_body_v1(relation, bound, keys, hidden, known, body)));

    FOR wanted IN
        SELECT a.held_by, a.name FROM public.threadline_attached_v1(relation) a
        WHERE (a.held_by, a.name) NOT IN (SELECT t.held_by, t.name FROM public.threadline_triggers_v1(relation, rules) t)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', wanted.name, wanted.held_by::regclass);
    END LOOP;
    FOR wanted IN
        SELECT t.* FROM public.threadline_triggers_v1(relation, rules) t
        WHERE (t.held_by, t.name) NOT IN (SELECT a.held_by, a.name FROM public.threadline_attached_v1(relation) a)
    LOOP
        EXECUTE format('CREATE TRIGGER %I %s EXECUTE FUNCTION public.%I()', wanted.name, format(wanted.definition, wanted.held_by::regclass), function_name);
    END LOOP;

    IF log_owner <> (SELECT p.proowner FROM pg_proc p WHERE p.oid = format('public.%I()', function_name)::regprocedure) THEN
        EXECUTE format('ALTER FUNCTION public.%I() OWNER TO %I', function_name, pg_get_userbyid(log_owner));
    END IF;
    -- Default privileges may have given it to others, who could attach it to a table of their own.
    FOR wanted IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS name
        FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        WHERE p.oid = format('public.%I()', function_name)::regprocedure AND a.grantee <> p.proowner
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION public.%I() FROM %s CASCADE', function_name, wanted.name);
    END LOOP;
    FOR wanted IN SELECT unnest(public.threadline_meant_for_v1(format('public.%I()', function_name)::regprocedure)) AS name LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION public.%I() TO %I', function_name, wanted.name);
    END LOOP;
    PERFORM public.threadline_check_readable_v1(relation, log_owner);
    IF rules ->> 'truncate' = 'rows' THEN
        -- The rows of a partition that is truncated are read from the partition itself.
        FOR wanted IN
            SELECT p.relid::regclass AS partition FROM pg_partition_tree(relation) p
            WHERE p.isleaf AND NOT has_table_privilege(log_owner, p.relid, 'SELECT')
        LOOP
            EXECUTE format('GRANT SELECT ON %s TO %I', wanted.partition, pg_get_userbyid(log_owner));
        END LOOP;
    END IF;

    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', relation) INTO populated;
    captured_at := clock_timestamp();
    entry := public.threadline_noted_v1(entry, relation, captured_at);
    UPDATE public.audit_tables t SET
        table_schema = catalog.schema,
        table_name = catalog.name,
        former_names = CASE WHEN t.table_name = catalog.name THEN t.former_names ELSE t.table_name || t.former_names END,
        key_columns = keys,
        gaps = entry.gaps,
        installed_at = coalesce(t.installed_at, captured_at),
        horizon = CASE
            WHEN NOT populated AND changes_triggers AND (entry.horizon IS NULL OR EXISTS (SELECT FROM unnest(entry.gaps) g WHERE upper(g) > entry.horizon)) THEN captured_at
            -- What was recorded under another key says nothing about rows that are asked for by this one.
            WHEN cardinality(t.key_columns) = cardinality(keys) AND NOT EXISTS (
                SELECT FROM unnest(t.key_columns) k WHERE k <> ALL (keys) AND NOT EXISTS (
                    SELECT FROM unnest(keys) n WHERE (entry.former_columns || threadline_capture_v1.former_columns) -> n ? k)) THEN entry.horizon END,
        fingerprint = threadline_capture_v1.fingerprint,
        function_version = 1,
        rules = bound,
        on_change = ARRAY(SELECT c FROM unnest(t.on_change || public.threadline_list_v1(rules, 'on_change')) c GROUP BY c ORDER BY c),
        redacted = (SELECT coalesce(jsonb_object_agg(r.name, r.placeholders), '{}') FROM (
            SELECT e.key AS name, coalesce(jsonb_agg(DISTINCT p.value) FILTER (WHERE p.value IS NOT NULL), '[]') AS placeholders
            FROM (SELECT key, value FROM jsonb_each(t.redacted) UNION ALL SELECT h, CASE WHEN rules -> 'mask' ? h THEN jsonb_build_array(rules -> 'mask' -> h) ELSE '[]' END FROM unnest(hidden) h) e
            LEFT JOIN LATERAL jsonb_array_elements(e.value) p ON true GROUP BY e.key) r),
        former_columns = entry.former_columns || threadline_capture_v1.former_columns,
        added_columns = entry.added_columns || public.threadline_added_columns_v1(relation, hidden),
        identity = entry.identity
    WHERE t.id = registered.id;
EXCEPTION
    WHEN lock_not_available THEN
        RAISE EXCEPTION E'threadline: table % stayed in use for %\nRun the migration again when the transactions that use it have ended.', target, lock_timeout
            USING ERRCODE = 'lock_not_available';
    WHEN OTHERS THEN
        -- Diesel shows the message of an error and drops its hint: what to do next has to be in the message.
        GET STACKED DIAGNOSTICS refusal = MESSAGE_TEXT, next_step = PG_EXCEPTION_HINT;
        RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = concat_ws(E'\n', refusal, nullif(next_step, '') || CASE
            WHEN refusal LIKE 'threadline: %' THEN ' Should you generate the migration again, remove this one first.' ELSE '' END);
END $$;

-- Ends the capture of a table. Its history stays.
CREATE OR REPLACE FUNCTION public.threadline_release_v1(relation regclass, target text, lock_timeout text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    registered public.audit_tables;
    attached pg_catalog.record;
BEGIN
    PERFORM set_config('lock_timeout', lock_timeout, true);
    IF relation IS NULL THEN
        -- The table is gone, and its triggers with it.
        FOR registered IN
            SELECT t.* FROM public.audit_tables t
            WHERE target IN (t.table_name, t.table_schema || '.' || t.table_name)
              AND to_regclass(format('%I.%I', t.table_schema, t.table_name)) IS NULL
        LOOP
            EXECUTE format('DROP FUNCTION IF EXISTS public.%I()', 'threadline_capture_' || registered.id);
            UPDATE public.audit_tables t SET installed_at = NULL, horizon = NULL WHERE t.id = registered.id;
        END LOOP;
        RETURN;
    END IF;
    SELECT t.* INTO registered FROM public.audit_tables t
    JOIN pg_class c ON c.oid = relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.table_schema = n.nspname AND t.table_name = c.relname;
    -- First, so that the DDL guard lets the triggers go.
    UPDATE public.audit_tables t SET
        installed_at = NULL, horizon = NULL,
        gaps = CASE WHEN t.installed_at IS NULL THEN t.gaps ELSE t.gaps || tstzrange(clock_timestamp(), NULL) END
    WHERE t.id = registered.id;
    FOR attached IN SELECT * FROM public.threadline_attached_v1(relation) LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', attached.name, attached.held_by::regclass);
    END LOOP;
    EXECUTE format('DROP FUNCTION IF EXISTS public.%I()', 'threadline_capture_' || registered.id);
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION E'threadline: table % stayed in use for %\nRun the migration again when the transactions that use it have ended.', target, lock_timeout
        USING ERRCODE = 'lock_not_available';
END $$;

-- Ends the capture of a table by hand, as reverting its migration does. Its history stays. To drop a table, call this first.
--
--   SELECT threadline_release('users');
CREATE OR REPLACE FUNCTION public.threadline_release(relation regclass) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$ SELECT public.threadline_release_v1(relation, relation::text, '2s') $$;

-- Writes what threadline_noted_v1 made of an entry.
CREATE OR REPLACE FUNCTION public.threadline_write_entry_v1(entry public.audit_tables) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE public.audit_tables t SET gaps = entry.gaps, horizon = entry.horizon, former_columns = entry.former_columns,
        added_columns = entry.added_columns, identity = entry.identity
    WHERE t.id = entry.id
$$;

-- Notes what DDL did to an audited table since the last time, at `happened_at` if that is known. It returns what is unknown
-- because of that: "rows", or the names of columns.
CREATE OR REPLACE FUNCTION public.threadline_note_v1(relation regclass, target integer, happened_at timestamptz) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
AS $$
DECLARE
    entry public.audit_tables := public.threadline_entry_v1(relation, target, happened_at);
    unknown CONSTANT pg_catalog.text[] := ARRAY(SELECT 'rows' WHERE EXISTS (SELECT FROM unnest(entry.gaps) g WHERE upper_inf(g)))
        || ARRAY(
            SELECT c.key FROM jsonb_each(entry.identity -> 'column_gaps') c
            WHERE EXISTS (SELECT FROM jsonb_array_elements_text(c.value) r WHERE upper_inf(r::tstzrange)) ORDER BY c.key);
BEGIN
    entry.added_columns := entry.added_columns || public.threadline_added_columns_v1(relation, public.threadline_list_v1(entry.rules, 'redacted'));
    -- What happened in no time is still between the changes before it and those after it.
    PERFORM public.threadline_write_entry_v1(public.threadline_noted_v1(entry, relation, coalesce(happened_at + interval '1 microsecond', clock_timestamp())));
    RETURN unknown;
END $$;

-- Looks at an audited table again, and notes what DDL did to it since the last time. What isn't known ends here. It returns what that is:
-- "rows", or the names of columns. Between two looks only that time is unknown, so that a migration may well call it before
-- its DDL and after it:
--
--   SELECT threadline_note('users');
--   ALTER TABLE users ALTER balance TYPE bigint;
--   SELECT threadline_note('users');
CREATE OR REPLACE FUNCTION public.threadline_note(relation regclass) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    root CONSTANT pg_catalog.regclass := coalesce(pg_partition_root(relation), relation);
    target CONSTANT integer := public.threadline_table(root);
BEGIN
    -- So that no other DDL comes in between.
    EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', root);
    IF EXISTS (SELECT FROM public.audit_tables t WHERE t.id = target AND t.installed_at IS NULL) THEN
        RAISE EXCEPTION 'threadline: table % is not captured', root
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run `threadline generate` with its model in the list, and the new migration.';
    END IF;
    RETURN public.threadline_note_v1(root, target, NULL);
END $$;

-- Takes a partition out of an audited table: its rows are recorded as deleted, since the table no longer has them, and it
-- stays as a table of its own. To drop a partition, call this first.
--
--   SELECT threadline_detach('events_2024_01');
CREATE OR REPLACE FUNCTION public.threadline_detach(partition regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
AS $$
DECLARE
    root CONSTANT pg_catalog.regclass := pg_partition_root(partition);
    parent CONSTANT pg_catalog.regclass := (SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = partition);
    audited public.audit_tables;
    leaf pg_catalog.regclass;
    attached pg_catalog.record;
BEGIN
    SELECT t.* INTO audited FROM public.audit_tables t
    JOIN pg_class c ON c.oid = root JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.table_schema = n.nspname AND t.table_name = c.relname AND t.installed_at IS NOT NULL;
    IF parent IS NULL OR audited.id IS NULL THEN
        RAISE EXCEPTION 'threadline: % is not a partition of an audited table', partition
            USING ERRCODE = 'wrong_object_type', HINT = 'Name the partition that is to leave its table.';
    END IF;
    EXECUTE format('LOCK TABLE %s, %s IN ACCESS EXCLUSIVE MODE', parent, partition);
    audited := public.threadline_entry_v1(root, audited.id);
    PERFORM public.threadline_changing_v1(audited.id);
    FOR leaf IN SELECT l.relid FROM pg_partition_tree(partition) l WHERE l.isleaf LOOP
        PERFORM public.threadline_record_gone_v1(audited.rules, leaf);
    END LOOP;
    EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, partition);
    FOR attached IN SELECT * FROM public.threadline_attached_v1(partition) LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', attached.name, attached.held_by::regclass);
    END LOOP;
    PERFORM public.threadline_write_entry_v1(public.threadline_noted_v1(audited, root, clock_timestamp()));
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_bound_body_v1(regclass, jsonb, text[], text[], text[], text),
    public.threadline_capture_v1(regclass, text, text[], jsonb, text[], jsonb, text, text, text),
    public.threadline_release_v1(regclass, text, text),
    public.threadline_changing_v1(integer),
    public.threadline_release(regclass),
    public.threadline_write_entry_v1(public.audit_tables),
    public.threadline_note_v1(regclass, integer, timestamptz),
    public.threadline_note(regclass),
    public.threadline_detach(regclass),
    public.threadline_check_readable_v1(regclass, oid)
FROM PUBLIC;
