DROP TABLE public.audit_commits;
DROP TABLE public.audit_actions;
DROP TABLE public.audit_changes;
DROP TABLE public.audit_transactions;
DROP TABLE public.audit_tables;
DROP FUNCTION public.threadline_check_place_v1(oid[]);
