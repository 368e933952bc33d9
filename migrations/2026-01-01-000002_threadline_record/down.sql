DROP TRIGGER IF EXISTS threadline_require_changes ON public.audit_actions;
DROP TRIGGER IF EXISTS threadline_seal ON public.audit_transactions;
DO $$
DECLARE
    audit_table text;
BEGIN
    FOREACH audit_table IN ARRAY ARRAY['audit_changes', 'audit_transactions', 'audit_actions', 'audit_commits'] LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS threadline_guard ON public.%I', audit_table);
        EXECUTE format('DROP TRIGGER IF EXISTS threadline_guard_truncate ON public.%I', audit_table);
    END LOOP;
END $$;

DROP FUNCTION public.threadline_require_changes_v1();
DROP FUNCTION public.threadline_record_action_v1(text, jsonb, text, text, text, text, text, text, text, text, boolean);
DROP FUNCTION public.threadline_transaction_v1();
DROP FUNCTION public.threadline_action_id_v1(uuid, integer);
DROP FUNCTION public.threadline_guard_v1();
DROP FUNCTION public.threadline_seal_v1();
DROP FUNCTION public.threadline_record_v1(integer, text, text, text[], text, jsonb, jsonb, text[], text[], jsonb, text[], text[], boolean, text);
DROP FUNCTION public.threadline_key_of_v1(text, text, text[], jsonb);
DROP FUNCTION public.threadline_append_v1(integer, text, text, text, jsonb, jsonb, text[], jsonb, text);
DROP FUNCTION public.threadline_masked_v1(jsonb, jsonb);
DROP FUNCTION public.threadline_require_actor_v1(uuid, text, text, text);
DROP FUNCTION public.threadline_open_v1(uuid, text, boolean);
DROP FUNCTION public.threadline_meta_v1(text);
DROP FUNCTION public.threadline_actor_v1(text);
DROP FUNCTION public.threadline_transaction_id_v1();
