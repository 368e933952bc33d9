DROP TRIGGER IF EXISTS threadline_require_changes ON public.audit_actions;

DROP FUNCTION public.threadline_require_changes_v1();
DROP FUNCTION public.threadline_record_action_v1(text, jsonb, text, text, text, text, text, text, text, text, boolean);
DROP FUNCTION public.threadline_transaction_v1();
DROP FUNCTION public.threadline_has_row_v1(uuid);
