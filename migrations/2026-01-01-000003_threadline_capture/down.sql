DROP FUNCTION public.threadline_truncate_v1(integer, text, text, text, text, text);
DROP FUNCTION public.threadline_settle_v1(anyelement, jsonb, integer, text, text, text[], text[], jsonb, text[], text[], boolean, text, integer);
DROP FUNCTION public.threadline_differences_v1(anyelement, anyelement);
DROP FUNCTION public.threadline_image_v1(anyelement, text[], integer);
DROP FUNCTION public.threadline_verify_columns_v1(text[], text, text, text[], text[]);
DROP FUNCTION public.threadline_verify_v1(oid, text, text);
