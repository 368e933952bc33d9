DROP TRIGGER IF EXISTS threadline_seal ON public.audit_transactions;
DROP TRIGGER IF EXISTS threadline_seal ON public.audit_commits;

DROP FUNCTION public.threadline_sealed_v1();
DROP FUNCTION public.threadline_seal_v1();
DROP FUNCTION public.threadline_enter_v1(uuid, text, text, text, text);
DROP FUNCTION public.threadline_is_open_v1(uuid, text, text, text);
DROP FUNCTION public.threadline_place_v1(text);
DROP FUNCTION public.threadline_action_id_v1(uuid, integer);
DROP FUNCTION public.threadline_meta_v1(text);
DROP FUNCTION public.threadline_actor_v1(text);
DROP FUNCTION public.threadline_transaction_id_v1();
