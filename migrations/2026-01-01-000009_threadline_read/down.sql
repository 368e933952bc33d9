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

DROP FUNCTION public.threadline_decode(anyelement, regclass, jsonb, jsonb);
DROP FUNCTION public.threadline_decode(anyelement, jsonb, jsonb);
DROP FUNCTION public.threadline_recipe(regclass, jsonb);
DROP FUNCTION public.threadline_as_of(regclass, jsonb, timestamptz);
DROP FUNCTION public.threadline_state(public.audit_changes);
DROP FUNCTION public.threadline_whole(public.audit_changes);
DROP FUNCTION public.threadline_changes(regclass);
DROP FUNCTION public.threadline_history(regclass, jsonb);
DROP FUNCTION public.threadline_other_history(regclass, jsonb);
DROP FUNCTION public.threadline_previous(integer, jsonb[], bigint);
DROP FUNCTION public.threadline_keys(integer, jsonb);
DROP FUNCTION public.threadline_key(regclass, jsonb);
DROP FUNCTION public.threadline_table(regclass);
