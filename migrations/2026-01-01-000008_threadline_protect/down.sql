DROP TRIGGER IF EXISTS threadline_end_gap ON public.audit_tables;
DO $$
DECLARE
    guarded regclass;
BEGIN
    FOR guarded IN
        SELECT tgrelid FROM pg_trigger
        WHERE left(tgname, 16) = 'threadline_guard' AND tgparentid = 0 AND tgfoid IN ('public.threadline_guard_v1()'::regprocedure, 'public.threadline_guard_insert_v1()'::regprocedure)
    LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS threadline_guard ON %s', guarded);
        EXECUTE format('DROP TRIGGER IF EXISTS threadline_guard_truncate ON %s', guarded);
        EXECUTE format('DROP TRIGGER IF EXISTS threadline_guard_insert ON %s', guarded);
    END LOOP;
END $$;

DROP FUNCTION public.threadline_end_gap_v1();
DROP FUNCTION public.threadline_bypass_v1(integer, text, text);
DROP FUNCTION public.threadline_protect_v1();
DROP FUNCTION public.threadline_protect_v1(text);
DROP FUNCTION public.threadline_rights_v1();
DROP FUNCTION public.threadline_meant_for_v1(oid);
DROP FUNCTION public.threadline_guard_tables_v1();
DROP FUNCTION public.threadline_log_tables_v1();
DROP FUNCTION public.threadline_guard_insert_v1();
DROP FUNCTION public.threadline_guard_v1();
