-- The DDL guard: event triggers that note what DDL does to audited tables as it happens, so that it is known when. Without them
-- capture and reads find it later, and what lies between is unknown.

-- The captured tables that relations are, or are a part of: partitions, and tables that inherit. All of them if NULL. Of a restored
-- copy, whose numbers are others, and of what capture itself is changing, the guard knows nothing.
CREATE OR REPLACE FUNCTION public.threadline_touched_v1(relations oid[]) RETURNS SETOF public.audit_tables
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    above CONSTANT pg_catalog.oid[] := ARRAY(
        WITH RECURSIVE above(oid) AS (
            SELECT unnest(relations)
            UNION
            SELECT i.inhparent FROM above JOIN pg_catalog.pg_inherits i ON i.inhrelid = above.oid)
        SELECT a.oid FROM above a);
BEGIN
    RETURN QUERY SELECT t.* FROM public.audit_tables t
    WHERE t.installed_at IS NOT NULL AND NOT t.identity ? 'changing'
        AND (relations IS NULL OR t.identity -> 'tree' ?| above::text[])
        AND t.identity -> 'log' = to_jsonb('public.audit_changes'::regclass::oid::bigint)
        AND t.identity ->> 'cluster' = (SELECT s.system_identifier::text FROM pg_control_system() s)
    ORDER BY t.id;
END $$;

-- Notes what a command did to audited tables, and records it as an action. Refuses what would end their capture without a word.
CREATE OR REPLACE FUNCTION public.threadline_guard_ddl_v1(tag text, relations oid[]) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    mode CONSTANT pg_catalog.text := coalesce(nullif(current_setting('threadline.ddl', true), ''), 'gap');
    entry public.audit_tables;
    relation pg_catalog.regclass;
    name pg_catalog.text;
    present pg_catalog.jsonb;
    unknown pg_catalog.text[];
BEGIN
    IF relations = '{}' THEN
        RETURN;
    END IF;
    FOR entry IN SELECT t.* FROM public.threadline_touched_v1(relations) t LOOP
        IF mode NOT IN ('gap', 'refuse') THEN
            RAISE EXCEPTION E'threadline: threadline.ddl is gap or refuse, not %\nRESET threadline.ddl, or set it to one of them.', mode USING ERRCODE = 'invalid_parameter_value';
        END IF;
        name := format('%I.%I', entry.table_schema, entry.table_name);
        relation := (SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid = (entry.identity ->> 'relation')::oid);
        present := public.threadline_identity_v1(relation);
        IF relation IS NULL OR NOT public.threadline_is_captured_v1(relation) OR EXISTS (
            SELECT FROM jsonb_object_keys(entry.identity -> 'triggers') t WHERE present -> 'tree' ? substring(t, '^[0-9]+') AND NOT present -> 'triggers' ? t)
        THEN
            RAISE EXCEPTION E'threadline: % would end the capture of table %, and its history would not say so\nFirst run: SELECT public.threadline_release(%);', tag, name, quote_literal(name)
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        -- Whatever was done since the table was looked at last came by here, if it was this guard that it was looked at under.
        unknown := public.threadline_note_v1(relation, entry.id, CASE WHEN entry.identity -> 'guard' = present -> 'guard' AND present -> 'guard' <> 'null' THEN clock_timestamp() END);
        IF mode = 'refuse' AND unknown <> '{}' THEN
            RAISE EXCEPTION E'threadline: after % it would be unknown what table % had before: %\nIf it may be: SET LOCAL threadline.ddl = ''gap'';', tag, name, array_to_string(unknown, ', ')
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        BEGIN
            PERFORM public.threadline_record_action_v1('threadline.ddl'::pg_catalog.text, NULL::pg_catalog.jsonb, 'ok'::pg_catalog.text, lower(tag COLLATE "C"),
                'threadline'::pg_catalog.text, nullif(array_to_string(unknown, ', '), ''), entry.table_schema || '.' || entry.table_name,
                NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text, false);
        EXCEPTION WHEN program_limit_exceeded THEN
            NULL; -- a transaction has 10,000 actions, and may have more DDL
        END;
    END LOOP;
END $$;

-- After a command: what it made and altered. Of a schema, all tables; of a type, the tables that are made of it.
CREATE OR REPLACE FUNCTION public.threadline_ddl_end() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM public.threadline_guard_ddl_v1(TG_TAG, ARRAY(
        SELECT coalesce((SELECT i.indrelid FROM pg_index i WHERE i.indexrelid = d.objid), d.objid)
        FROM pg_event_trigger_ddl_commands() d WHERE d.classid = 'pg_class'::regclass AND d.schema_name IS DISTINCT FROM 'pg_temp'
        UNION SELECT t.tgrelid FROM pg_event_trigger_ddl_commands() d JOIN pg_trigger t ON t.oid = d.objid WHERE d.classid = 'pg_trigger'::regclass
        UNION SELECT c.oid FROM pg_event_trigger_ddl_commands() d JOIN pg_class c ON c.reloftype = d.objid WHERE d.classid = 'pg_type'::regclass
        UNION SELECT c.oid FROM pg_event_trigger_ddl_commands() d JOIN pg_class c ON c.relnamespace = d.objid
            WHERE d.classid = 'pg_namespace'::regclass AND d.command_tag = 'ALTER SCHEMA'));
END $$;

-- After things were dropped: the tables that they were, or were a part of. That of an index is no longer known. ALTER TABLE is
-- told of by the other trigger.
CREATE OR REPLACE FUNCTION public.threadline_ddl_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_TAG = 'ALTER TABLE' THEN
        RETURN;
    END IF;
    PERFORM public.threadline_guard_ddl_v1(TG_TAG, CASE
        WHEN NOT EXISTS (SELECT FROM pg_event_trigger_dropped_objects() d WHERE d.original AND d.object_type = 'index' AND NOT d.is_temporary) THEN ARRAY(
            SELECT CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid ELSE to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))::oid END
            FROM pg_event_trigger_dropped_objects() d
            WHERE d.classid IN ('pg_class'::regclass, 'pg_trigger'::regclass, 'pg_constraint'::regclass) AND NOT d.is_temporary) END);
END $$;

-- Installs the guard where it may be. Its functions run as the owner of the log, called by whoever alters a table: a superuser, maybe.
-- So that owner has to be one, who could do what he wants anyway.
CREATE OR REPLACE FUNCTION public.threadline_arm_ddl_guard_v1(log_owner oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    may_be CONSTANT boolean := (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = log_owner);
BEGIN
    IF may_be = EXISTS (SELECT FROM pg_event_trigger e WHERE e.evtname = 'threadline_ddl_end') THEN
        RETURN;
    ELSIF may_be THEN
        CREATE EVENT TRIGGER threadline_ddl_end ON ddl_command_end EXECUTE FUNCTION public.threadline_ddl_end();
        CREATE EVENT TRIGGER threadline_ddl_drop ON sql_drop EXECUTE FUNCTION public.threadline_ddl_drop();
        -- In replica mode, too.
        ALTER EVENT TRIGGER threadline_ddl_end ENABLE ALWAYS;
        ALTER EVENT TRIGGER threadline_ddl_drop ENABLE ALWAYS;
    ELSE
        DROP EVENT TRIGGER threadline_ddl_end;
        DROP EVENT TRIGGER threadline_ddl_drop;
    END IF;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_touched_v1(oid[]),
    public.threadline_guard_ddl_v1(text, oid[]),
    public.threadline_ddl_end(),
    public.threadline_ddl_drop(),
    public.threadline_arm_ddl_guard_v1(oid)
FROM PUBLIC;

-- Everything is there: its owner, its rights and its guards, as they are documented.
SELECT public.threadline_protect_v1();

DO $$
DECLARE
    log_owner CONSTANT pg_catalog.regrole := (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = 'public.audit_changes'::regclass);
BEGIN
    IF NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = log_owner) THEN
        RAISE NOTICE E'threadline: no DDL guard, since role % is no superuser\nWhat DDL does to an audited table is found when it is next captured. Call threadline_note() before and after such DDL.', log_owner;
    END IF;
END $$;
