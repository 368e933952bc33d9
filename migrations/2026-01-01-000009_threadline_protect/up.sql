-- What keeps the log whole: append-only guards, the rights on it, its owner; and the one way to write without being recorded.

SET LOCAL lock_timeout = '2s';

-- Append-only. Retention identifies itself by acting as the role threadline_retention. The registry of audited tables is
-- written by members of its owner: whoever captures a table is one.
CREATE OR REPLACE FUNCTION public.threadline_guard_v1() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_RELID = 'public.audit_tables'::regclass THEN
        IF TG_OP <> 'TRUNCATE' AND pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE') THEN
            RETURN NULL; -- it fires for each statement, whose rows go on
        END IF;
        RAISE EXCEPTION 'threadline: % is the registry of audited tables, % by % is refused', TG_TABLE_NAME, TG_OP, current_user
            USING ERRCODE = 'insufficient_privilege', HINT = 'Generated migrations write to it, as a member of its owner.';
    END IF;
    IF TG_OP = 'DELETE' AND current_user = 'threadline_retention' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND coalesce(pg_partition_root(TG_RELID), TG_RELID) = 'public.audit_transactions'::regclass
        AND pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE')
    THEN
        -- The first action and a late actor, once, inside the transaction itself.
        IF to_jsonb(NEW) - '{actor_ref,action_id}'::text[] = to_jsonb(OLD) - '{actor_ref,action_id}'::text[]
            AND (OLD.actor_ref IS NULL OR OLD.actor_ref = NEW.actor_ref)
            AND (OLD.action_id IS NULL OR OLD.action_id = NEW.action_id)
            AND OLD.id = public.threadline_transaction_id_v1()
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'threadline: % is append-only, % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege', HINT = 'Old entries leave through retention, as the role threadline_retention.';
END $$;

-- The tables of the log and, since neither rights nor TRUNCATE triggers nor row level security are inherited, their partitions.
CREATE OR REPLACE FUNCTION public.threadline_log_tables_v1() RETURNS TABLE (root regclass, relation regclass, level integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t.root, coalesce(p.relid, t.root), coalesce(p.level, 0)
    FROM unnest(ARRAY['public.audit_tables', 'public.audit_changes', 'public.audit_transactions', 'public.audit_actions', 'public.audit_commits']::regclass[]) t(root)
    LEFT JOIN LATERAL pg_partition_tree(t.root) p ON true
$$;

-- An INSERT into audit_transactions, where row level security would cost readers more than this costs writers. The argument
-- is the owner's name as it was when the guard was made, which saves looking for it for each transaction.
CREATE OR REPLACE FUNCTION public.threadline_guard_insert_v1() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF current_user OPERATOR(pg_catalog.<>) TG_ARGV[0] THEN -- qualified, as it runs under the path of whoever writes
        IF NOT pg_catalog.pg_has_role(current_user, (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) TG_RELID), 'USAGE') THEN
            RAISE EXCEPTION 'threadline: % is written by its owner, % by % is refused', TG_TABLE_NAME, TG_OP, current_user
                USING ERRCODE = 'insufficient_privilege', HINT = 'Writes to audited tables are recorded as the owner of the log.';
        END IF;
    END IF;
    RETURN NULL;
END $$;

-- Puts the guards where they are missing.
--
-- An INSERT is refused by row level security, whatever has been granted: there is no policy that admits one, and the owner is
-- exempt. For the owner it costs nothing, where a trigger would run for each captured row. The policies for UPDATE and DELETE
-- let the rows through to the guard, which refuses them with an error; without them, nothing would be found and nothing said.
-- For readers, the planner knows less of a table under row level security: of audit_transactions, too little to find the
-- newest of an actor's, so that has a trigger.
CREATE OR REPLACE FUNCTION public.threadline_guard_tables_v1() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    root pg_catalog.regclass;
    guarded pg_catalog.regclass;
    owner pg_catalog.text;
    partition pg_catalog.regclass;
    name pg_catalog.name;
    command pg_catalog.text;
BEGIN
    FOR root, guarded IN
        SELECT t.root, t.relation FROM public.threadline_log_tables_v1() t WHERE t.root <> 'public.audit_tables'::regclass ORDER BY t.level
    LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = guarded AND tgname = 'threadline_guard') THEN
            -- A table that became a partition has a guard of its own, and gets that of the whole table instead.
            FOR partition, name IN
                SELECT t.tgrelid, t.tgname FROM pg_partition_tree(guarded) p JOIN pg_trigger t ON t.tgrelid = p.relid
                WHERE t.tgname IN ('threadline_guard', 'threadline_guard_update') AND t.tgparentid = 0
            LOOP
                EXECUTE format('DROP TRIGGER %I ON %s', name, partition);
            END LOOP;
            IF root = 'public.audit_transactions'::regclass THEN
                -- Before an UPDATE, PostgreSQL would lock the row for the trigger, and a lock says that there is a commit marker.
                EXECUTE format('CREATE TRIGGER threadline_guard BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION public.threadline_guard_v1()', guarded);
                EXECUTE format('CREATE TRIGGER threadline_guard_update AFTER UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION public.threadline_guard_v1()', guarded);
            ELSE
                EXECUTE format('CREATE TRIGGER threadline_guard BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION public.threadline_guard_v1()', guarded);
            END IF;
        END IF;
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = guarded AND tgname = 'threadline_guard_truncate') THEN
            EXECUTE format('CREATE TRIGGER threadline_guard_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION public.threadline_guard_v1()', guarded);
        END IF;
        IF root = 'public.audit_transactions'::regclass THEN
            SELECT pg_get_userbyid(c.relowner)::text INTO owner FROM pg_class c WHERE c.oid = guarded;
            IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = guarded AND tgname = 'threadline_guard_insert' AND pg_get_triggerdef(oid) LIKE format('%%(%s)', quote_literal(owner))) THEN
                EXECUTE format('DROP TRIGGER IF EXISTS threadline_guard_insert ON %s', guarded);
                EXECUTE format('CREATE TRIGGER threadline_guard_insert BEFORE INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION public.threadline_guard_insert_v1(%L)', guarded, owner);
            END IF;
            CONTINUE;
        END IF;
        FOREACH command IN ARRAY ARRAY['select', 'update', 'delete'] LOOP
            IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = guarded AND polname = 'threadline_' || command) THEN
                EXECUTE format('CREATE POLICY threadline_%1$s ON %2$s FOR %1$s USING (true)', command, guarded);
            END IF;
        END LOOP;
        IF NOT (SELECT c.relrowsecurity FROM pg_class c WHERE c.oid = guarded) THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', guarded);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_tables'::regclass AND tgname = 'threadline_guard') THEN
        CREATE TRIGGER threadline_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.audit_tables
            FOR EACH STATEMENT EXECUTE FUNCTION public.threadline_guard_v1();
    END IF;
END $$;

-- The rights on a log, as they are documented: its owner has all of them, threadline_reader may read, threadline_retention
-- may delete, threadline_recorder may record actions, and nobody else has any, whatever default privileges or an earlier
-- GRANT say. An application needs none to be captured. Of roles that don't exist, the owner has the rights.
CREATE OR REPLACE FUNCTION public.threadline_rights_v1() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held pg_catalog.record;
BEGIN
    FOR held IN
        WITH relation AS (
            SELECT c.oid, c.relkind, c.relname::text AS name, c.relowner AS owner, c.relacl AS acl
            FROM pg_class c
            WHERE c.oid IN (SELECT t.relation FROM public.threadline_log_tables_v1() t
                UNION ALL SELECT unnest(ARRAY['public.audit_changes_id_seq', pg_get_serial_sequence('public.audit_tables', 'id')]::regclass[]))),
        object AS (
            SELECT CASE r.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, r.oid::regclass::text AS name, r.owner, a.grantee, a.is_grantable,
                CASE WHEN r.relkind = 'S' THEN NULL WHEN a.privilege_type = 'SELECT' THEN '{threadline_reader,threadline_retention}'::text[]
                    WHEN a.privilege_type = 'DELETE' AND r.name <> 'audit_tables' THEN '{threadline_retention}' END AS meant_for
            FROM relation r, aclexplode(r.acl) a
            UNION ALL
            -- Revoking a right on a table revokes it on its columns.
            SELECT 'TABLE', r.oid::regclass::text, r.owner, a.grantee, true, NULL
            FROM relation r JOIN pg_attribute t ON t.attrelid = r.oid, aclexplode(t.attacl) a
            UNION ALL
            SELECT 'ROUTINE', p.oid::regprocedure::text, p.proowner, a.grantee, a.is_grantable, public.threadline_meant_for_v1(p.oid)
            FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            WHERE p.pronamespace = 'public'::regnamespace AND left(p.proname, 11) = 'threadline_')
        SELECT DISTINCT o.kind, o.name, CASE o.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(o.grantee)) END AS grantee
        FROM object o
        WHERE o.grantee <> o.owner AND (o.is_grantable OR pg_get_userbyid(o.grantee)::text <> ALL (coalesce(o.meant_for, '{}')))
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %s CASCADE', held.kind, held.name, held.grantee);
    END LOOP;

    FOR held IN
        SELECT g.privileges || ' ON ' || g.target AS granted, quote_ident(r.rolname) AS role
        FROM (
            SELECT r.role, CASE WHEN r.role = 'threadline_reader' OR t.relation = 'public.audit_tables'::regclass THEN 'SELECT' ELSE 'SELECT, DELETE' END AS privileges,
                t.relation::text AS target
            FROM unnest(ARRAY['threadline_reader', 'threadline_retention']) r(role), public.threadline_log_tables_v1() t WHERE t.level = 0
            UNION ALL
            SELECT m.role, 'EXECUTE', 'FUNCTION ' || p.oid::regprocedure::text
            FROM pg_proc p, unnest(public.threadline_meant_for_v1(p.oid)) m(role)
            WHERE p.pronamespace = 'public'::regnamespace AND left(p.proname, 11) = 'threadline_'
        ) g JOIN pg_roles r ON r.rolname = g.role
    LOOP
        EXECUTE format('GRANT %s TO %s', held.granted, held.role);
    END LOOP;
END $$;

-- Who besides the owner may call a function of the log. Readers: what neither writes nor runs with more rights than its
-- caller, which is what STABLE and IMMUTABLE say of ours, and the few that say otherwise because they run SQL that is made at
-- run time or lock rows of the caller's. Recorders: what an application calls.
CREATE OR REPLACE FUNCTION public.threadline_meant_for_v1(routine oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_remove(ARRAY[
        CASE WHEN NOT p.prosecdef AND p.prorettype <> 'trigger'::regtype AND (p.provolatile <> 'v'
            OR p.proname = ANY ('{threadline_live,threadline_revert,threadline_run_v1,threadline_undone_v1}')) THEN 'threadline_reader' END,
        -- Who creates or attaches a partition gives it the triggers of the table.
        (SELECT pg_get_userbyid(c.relowner)::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE t.tgfoid = p.oid AND t.tgparentid = 0 AND c.relkind = 'p' AND c.relowner <> p.proowner LIMIT 1),
        CASE WHEN p.proname = ANY ('{threadline_record_action_v1,threadline_transaction_v1,threadline_transaction_id_v1}') THEN 'threadline_recorder' END], NULL)
    FROM pg_proc p WHERE p.oid = routine
$$;

-- Hands the log to a role, with the schema that it is in if that is its own, and puts rights and guards right. Run it as a
-- member of that role, after a restore or to change the owner:
--
--   SELECT threadline_protect_v1('threadline_owner');
CREATE OR REPLACE FUNCTION public.threadline_protect_v1(log_owner text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner CONSTANT pg_catalog.oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = log_owner);
    place pg_catalog.record;
    object pg_catalog.record;
BEGIN
    IF owner IS NULL THEN
        RAISE EXCEPTION 'threadline: role % does not exist', log_owner USING ERRCODE = 'undefined_object';
    END IF;
    SELECT n.oid, quote_ident(n.nspname) AS name, n.nspowner, r.rolsuper INTO place
    FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.oid = 'public'::regnamespace;
    -- 2200 is the schema that every database begins with, which belongs to the database and not to the log.
    IF place.oid <> 2200 AND place.nspowner <> owner AND pg_has_role(current_user, place.nspowner, 'USAGE')
        AND has_database_privilege(current_database(), 'CREATE')
    THEN
        EXECUTE format('ALTER SCHEMA %s OWNER TO %I', place.name, log_owner);
    END IF;
    IF NOT has_schema_privilege(owner, place.oid, 'USAGE') OR NOT has_schema_privilege(owner, place.oid, 'CREATE') THEN
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %s TO %I', place.name, log_owner);
    END IF;
    -- Without the right to grant it, GRANT only warns. Nothing can be given to a role that may not create it there.
    IF NOT has_schema_privilege(owner, place.oid, 'CREATE') THEN
        RAISE EXCEPTION E'threadline: role % is to own the log and may not create objects in schema %\nLet the owner of the schema run: GRANT USAGE, CREATE ON SCHEMA % TO %;',
            log_owner, place.name, place.name, quote_ident(log_owner) USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- Before its functions are somebody else's.
    IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = owner) THEN
        PERFORM public.threadline_arm_ddl_guard_v1(owner);
    END IF;
    FOR object IN
        SELECT 'TABLE' AS kind, t.relation::text AS name FROM public.threadline_log_tables_v1() t JOIN pg_class c ON c.oid = t.relation
        WHERE c.relowner <> owner
        UNION ALL
        SELECT 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p
        WHERE p.proowner <> owner AND p.pronamespace = place.oid AND left(p.proname, 11) = 'threadline_'
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO %I', object.kind, object.name, log_owner);
    END LOOP;
    PERFORM public.threadline_guard_tables_v1();
    PERFORM public.threadline_rights_v1();
    PERFORM public.threadline_check_place_v1(ARRAY[owner]);
    PERFORM public.threadline_arm_ddl_guard_v1(owner);
END $$;

-- The same for the log as it is; while it is being installed, for the role that `threadline install --owner` names. Run it
-- again after adding a partition to a table of the log.
CREATE OR REPLACE FUNCTION public.threadline_protect_v1() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT public.threadline_protect_v1(coalesce(nullif(current_setting('threadline.log_owner', true), ''), pg_get_userbyid(c.relowner)::text))
    FROM pg_class c WHERE c.oid = 'public.audit_changes'::regclass
$$;

-- Capture is off for this transaction (SET LOCAL threadline.capture = 'off'): only members of threadline_bypass may do that,
-- whatever role they act as. The gap is noted, and by whom; the table has no horizon until its next baseline.
CREATE OR REPLACE FUNCTION public.threadline_bypass_v1(target integer, target_schema text, target_name text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'threadline_bypass' AND pg_has_role(session_user, r.oid, 'MEMBER')) THEN
        RAISE EXCEPTION 'threadline: % may not switch off the capture of %.%', session_user, target_schema, target_name
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('RESET threadline.capture, or let an administrator run: GRANT threadline_bypass TO %I;', session_user);
    END IF;
    -- A gap that is open while the table is captured is this transaction's own, and ends when it commits.
    IF EXISTS (SELECT FROM public.audit_tables t WHERE t.id = target AND t.installed_at IS NOT NULL AND upper_inf(t.gaps[cardinality(t.gaps)])) THEN
        RETURN;
    END IF;
    PERFORM public.threadline_enter_v1(public.threadline_transaction_id_v1(), coalesce(current_setting('threadline.actor_ref', true), ''),
        NULL::pg_catalog.text, target_schema, target_name);
    PERFORM public.threadline_record_action_v1('threadline.capture_off'::pg_catalog.text, NULL::pg_catalog.jsonb, 'ok'::pg_catalog.text, NULL::pg_catalog.text,
        'threadline'::pg_catalog.text, NULL::pg_catalog.text, target_schema || '.' || target_name, NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text, false);
    UPDATE public.audit_tables t SET gaps = t.gaps || tstzrange(statement_timestamp(), NULL), horizon = NULL WHERE t.id = target;
END $$;

CREATE OR REPLACE FUNCTION public.threadline_end_gap_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_RELID <> 'public.audit_tables'::regclass AND pg_partition_root(TG_RELID) IS DISTINCT FROM 'public.audit_tables'::regclass THEN
        RAISE EXCEPTION 'threadline: threadline_end_gap_v1 serves public.audit_tables and no other table' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE public.audit_tables t
    SET gaps = t.gaps[:cardinality(t.gaps) - 1] || tstzrange(lower(t.gaps[cardinality(t.gaps)]), clock_timestamp(), '[]')
    WHERE t.id = NEW.id AND t.installed_at IS NOT NULL AND upper_inf(t.gaps[cardinality(t.gaps)]);
    RETURN NULL;
END $$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_tables'::regclass AND tgname = 'threadline_end_gap') THEN
        CREATE CONSTRAINT TRIGGER threadline_end_gap AFTER UPDATE ON public.audit_tables
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.gaps <> OLD.gaps AND NEW.installed_at IS NOT NULL)
            EXECUTE FUNCTION public.threadline_end_gap_v1();
    END IF;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_guard_tables_v1(),
    public.threadline_rights_v1(),
    public.threadline_protect_v1(),
    public.threadline_protect_v1(text),
    public.threadline_bypass_v1(integer, text, text),
    public.threadline_end_gap_v1()
FROM PUBLIC;
