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

DROP FUNCTION public.threadline_never_v1(regclass, timestamptz);
DROP FUNCTION public.threadline_judged_v1(public.audit_changes, regclass, jsonb);
DROP FUNCTION public.threadline_without_scope_v1(regclass);
DROP FUNCTION public.threadline_without_scope_v1(text, text);
DROP FUNCTION public.threadline_has_v1(public.audit_changes, text, text);
DROP FUNCTION public.threadline_seen_v1(xid, uuid, pg_snapshot);
DROP FUNCTION public.threadline_key_changes_v1(text, text, jsonb);
DROP FUNCTION public.threadline_tables_v1(text, text);
DROP INDEX public.audit_actions_request;
DROP INDEX public.audit_transactions_request;
