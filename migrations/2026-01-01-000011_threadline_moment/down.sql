DROP FUNCTION public.threadline_settled(timestamptz);
DROP FUNCTION public.threadline_numbered_here_v1(uuid);
DROP FUNCTION public.threadline_at(timestamptz, text[]);
DROP FUNCTION public.threadline_moment(anyelement, regclass, timestamptz, jsonb, text[]);
DROP FUNCTION public.threadline_moment_query(regclass, timestamptz, jsonb, text[], boolean);
DROP FUNCTION public.threadline_row_query(regclass, public.audit_tables, timestamp with time zone, jsonb, text[], boolean, text);
DROP FUNCTION public.threadline_row(anyelement, regclass, bigint, jsonb, text[], jsonb);
DROP FUNCTION public.threadline_known_at(regclass, timestamptz);
DROP FUNCTION public.threadline_late(timestamptz);
