DROP FUNCTION public.threadline_truncate_v1(integer, text, text, jsonb, regclass, text);
DROP FUNCTION public.threadline_record_gone_v1(integer, text, text, jsonb, regclass);
DROP FUNCTION public.threadline_rows_query_v1(text, text, text, text, jsonb);
DROP FUNCTION public.threadline_settle_v1(anyelement, boolean, integer, text, text, jsonb);
DROP FUNCTION public.threadline_differences_v1(anyelement, anyelement);
DROP FUNCTION public.threadline_image_v1(anyelement, jsonb);
DROP FUNCTION public.threadline_texts_v1(anyelement, text[]);
DROP FUNCTION public.threadline_verify_columns_v1(regclass, text, text, jsonb, jsonb, text[]);
DROP FUNCTION public.threadline_verify_v1(oid, text, text);
