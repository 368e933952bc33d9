DROP TRIGGER IF EXISTS threadline_end_gap ON public.audit_tables;
DO $$
DECLARE
    guard record;
BEGIN
    FOR guard IN
        SELECT t.tgrelid::regclass AS relation, t.tgname AS name FROM pg_trigger t
        WHERE t.tgparentid = 0 AND t.tgfoid = 'public.threadline_guard_v1()'::regprocedure
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', guard.name, guard.relation);
    END LOOP;
END $$;

DROP FUNCTION public.threadline_end_gap_v1();
DROP FUNCTION public.threadline_bypass_v1(integer, text, text);
DROP FUNCTION public.threadline_protect_v1();
DROP FUNCTION public.threadline_guard_v1();
