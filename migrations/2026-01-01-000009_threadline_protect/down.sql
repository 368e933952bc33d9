DROP TRIGGER IF EXISTS threadline_end_gap ON public.audit_tables;
DO $$
DECLARE
    guard record;
BEGIN
    FOR guard IN
        SELECT t.tgrelid::regclass AS relation, t.tgname AS name FROM pg_trigger t
        WHERE t.tgparentid = 0 AND t.tgfoid IN ('public.threadline_guard_v1()'::regprocedure, 'public.threadline_guard_insert_v1()'::regprocedure)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', guard.name, guard.relation);
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
