DROP FUNCTION public.threadline_check_statement_level_v1(regclass);
DROP FUNCTION public.threadline_is_captured_v1(oid);
DROP FUNCTION public.threadline_bound_rules_v1(regclass, text[], jsonb);
DROP FUNCTION public.threadline_as_text_v1(oid);
DROP FUNCTION public.threadline_added_columns_v1(regclass, text[]);
DROP FUNCTION public.threadline_check_redaction_v1(regclass, text[], text[]);
DROP FUNCTION public.threadline_checked_key_v1(regclass, text[]);
DROP FUNCTION public.threadline_key_type_v1(oid, integer, oid);
