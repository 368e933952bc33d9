DROP FUNCTION public.threadline_release_v1(regclass, text, text);
DROP FUNCTION public.threadline_capture_v1(regclass, text, text[], jsonb, text[], text[], jsonb, text, text, text);
DROP FUNCTION public.threadline_added_columns_v1(regclass, text[]);
DROP FUNCTION public.threadline_check_redaction_v1(regclass, text[], text[]);
DROP FUNCTION public.threadline_checked_key_v1(regclass, text[]);
DROP FUNCTION public.threadline_key_type_v1(oid, integer, oid);
