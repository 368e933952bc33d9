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

DROP FUNCTION public.threadline_revert_within_v1(json, bigint[]);
DROP FUNCTION public.threadline_revert_judged_v1(json);
DROP FUNCTION public.threadline_run_v1(text[]);
DROP FUNCTION public.threadline_revert(uuid, bigint, boolean, bigint[]);
DROP FUNCTION public.threadline_undone_v1(public.audit_tables, jsonb[], bigint[], boolean[], jsonb[], jsonb[], jsonb[], boolean, boolean);
DROP FUNCTION public.threadline_referring_v1(public.audit_tables, jsonb[]);
DROP FUNCTION public.threadline_restorable(text[], jsonb);
DROP FUNCTION public.threadline_orphaned_v1(public.audit_tables, jsonb[], jsonb[]);
DROP FUNCTION public.threadline_taken_v1(public.audit_tables, jsonb[], jsonb[], jsonb[]);
DROP FUNCTION public.threadline_unique_keys_v1(regclass);
DROP FUNCTION public.threadline_foreign_keys_v1();
DROP FUNCTION public.threadline_since(public.audit_tables, jsonb[], bigint[], jsonb[], jsonb[]);
DROP FUNCTION public.threadline_net(uuid, bigint, bigint[]);
DROP FUNCTION public.threadline_alive(integer, bigint);
DROP FUNCTION public.threadline_live(public.audit_tables, jsonb[], boolean);
DROP FUNCTION public.threadline_differs_v1(text[]);
DROP FUNCTION public.threadline_same_key_v1(text[]);
DROP FUNCTION public.threadline_named(jsonb, jsonb);
DROP FUNCTION public.threadline_records_of(anyelement, jsonb);
DROP FUNCTION public.threadline_holds_one_of(jsonb, jsonb[]);
DROP FUNCTION public.threadline_values(regclass, text, anyelement);
DROP FUNCTION public.threadline_names(regclass, text);
DROP FUNCTION public.threadline_earlier(public.audit_changes);
