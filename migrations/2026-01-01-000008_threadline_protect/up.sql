-- What keeps the log whole: append-only guards, and the one way to write without being recorded.

SET LOCAL lock_timeout = '2s';

-- Append-only. Retention identifies itself by acting as the role threadline_retention.
CREATE OR REPLACE FUNCTION public.threadline_guard_v1() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_user = 'threadline_retention' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND coalesce(pg_partition_root(TG_RELID), TG_RELID) = 'public.audit_transactions'::regclass THEN
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

-- Puts the guards where they are missing: on every table of the log and, since TRUNCATE triggers are not inherited, on every
-- partition of one. Run it again after adding a partition.
CREATE OR REPLACE FUNCTION public.threadline_protect_v1() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guarded pg_catalog.regclass;
    partition pg_catalog.regclass;
BEGIN
    FOR guarded IN
        SELECT coalesce(p.relid, t.relation)
        FROM unnest(ARRAY['public.audit_changes', 'public.audit_transactions', 'public.audit_actions', 'public.audit_commits']::regclass[]) t(relation)
        LEFT JOIN LATERAL pg_partition_tree(t.relation) p ON true
        ORDER BY p.level NULLS FIRST
    LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = guarded AND tgname = 'threadline_guard') THEN
            -- A table that became a partition has a guard of its own, and gets that of the whole table instead.
            FOR partition IN
                SELECT t.tgrelid FROM pg_partition_tree(guarded) p JOIN pg_trigger t ON t.tgrelid = p.relid
                WHERE t.tgname = 'threadline_guard' AND t.tgparentid = 0
            LOOP
                EXECUTE format('DROP TRIGGER threadline_guard ON %s', partition);
            END LOOP;
            EXECUTE format('CREATE TRIGGER threadline_guard BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION public.threadline_guard_v1()', guarded);
            IF guarded = 'public.audit_transactions'::regclass THEN
                -- Not before an UPDATE, for which PostgreSQL locks the row first: its lock says that there is a commit marker.
                DROP TRIGGER threadline_guard ON public.audit_transactions;
                CREATE TRIGGER threadline_guard BEFORE DELETE ON public.audit_transactions FOR EACH ROW EXECUTE FUNCTION public.threadline_guard_v1();
                CREATE TRIGGER threadline_guard_update AFTER UPDATE ON public.audit_transactions FOR EACH ROW EXECUTE FUNCTION public.threadline_guard_v1();
            END IF;
        END IF;
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = guarded AND tgname = 'threadline_guard_truncate') THEN
            EXECUTE format('CREATE TRIGGER threadline_guard_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION public.threadline_guard_v1()', guarded);
        END IF;
    END LOOP;
END $$;

SELECT public.threadline_protect_v1();

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
    public.threadline_protect_v1(),
    public.threadline_bypass_v1(integer, text, text),
    public.threadline_end_gap_v1()
FROM PUBLIC;
