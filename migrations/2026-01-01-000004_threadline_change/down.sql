DROP FUNCTION public.threadline_record_rows_v1(jsonb, text, bigint[], jsonb[], jsonb[], jsonb[]);
DROP FUNCTION public.threadline_unchanged_v1(jsonb, text[]);
DROP FUNCTION public.threadline_columns_of_v1(jsonb);
DROP FUNCTION public.threadline_record_v1(jsonb, oid, text, text, text, text, text[], jsonb, jsonb, text[], boolean, xid);
DROP FUNCTION public.threadline_key_v1(jsonb, text, jsonb);
DROP FUNCTION public.threadline_key_of_v1(jsonb, jsonb);
DROP FUNCTION public.threadline_list_v1(jsonb, text);
DROP FUNCTION public.threadline_is_marked_v1(jsonb);
DROP FUNCTION public.threadline_masked_v1(jsonb, jsonb);
