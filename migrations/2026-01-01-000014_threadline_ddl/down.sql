-- The log goes in one piece or not at all: not while a table is still captured, and not while it holds anything, unless
-- the session says so (PGOPTIONS='-c threadline.drop_log=yes'). Diesel shows messages and no hints.
DO $$
DECLARE
    captured text;
BEGIN
    SELECT string_agg(t.tgrelid::regclass::text, ', ') INTO captured
    FROM pg_catalog.pg_trigger t
    WHERE t.tgname ~ '^!threadline(_insert)?$' AND t.tgparentid = 0;
    IF captured IS NOT NULL THEN
        RAISE EXCEPTION E'threadline: still captured: %\nRevert the capture migrations of these tables first.', captured;
    END IF;
    IF coalesce(current_setting('threadline.drop_log', true), '') <> 'yes'
        AND (EXISTS (SELECT FROM public.audit_changes) OR EXISTS (SELECT FROM public.audit_actions))
    THEN
        RAISE EXCEPTION E'threadline: the audit log is not empty and stays\nExport it first; then revert with PGOPTIONS=''-c threadline.drop_log=yes''.';
    END IF;
END $$;

DROP EVENT TRIGGER IF EXISTS threadline_ddl_end;
DROP EVENT TRIGGER IF EXISTS threadline_ddl_drop;
DROP FUNCTION public.threadline_arm_ddl_guard_v1(oid);
DROP FUNCTION public.threadline_ddl_drop();
DROP FUNCTION public.threadline_ddl_end();
DROP FUNCTION public.threadline_guard_ddl_v1(text, oid[]);
DROP FUNCTION public.threadline_touched_v1(oid[]);
