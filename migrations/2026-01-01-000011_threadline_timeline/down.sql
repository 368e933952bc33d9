DROP FUNCTION public.threadline_without_scope_v1(text, text);
DROP FUNCTION public.threadline_has_v1(public.audit_changes, text, text);
DROP FUNCTION public.threadline_seen_v1(xid, uuid, pg_snapshot);
DROP FUNCTION public.threadline_key_changes_v1(text, text, jsonb);
DROP FUNCTION public.threadline_tables_v1(text, text);
DROP INDEX public.audit_actions_request;
DROP INDEX public.audit_transactions_request;
