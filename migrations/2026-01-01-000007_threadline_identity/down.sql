DROP FUNCTION public.threadline_entry(regclass);
DROP FUNCTION public.threadline_entry_of_v1(integer);
DROP FUNCTION public.threadline_known_v1(jsonb, jsonb, jsonb, jsonb, timestamptz, timestamptz);
DROP FUNCTION public.threadline_is_altered_v1(jsonb);
DROP FUNCTION public.threadline_noted_v1(public.audit_tables, regclass, timestamptz);
DROP FUNCTION public.threadline_entry_v1(regclass, integer);
DROP FUNCTION public.threadline_replicated_v1();
DROP FUNCTION public.threadline_drift_v1(jsonb, jsonb, text[]);
DROP FUNCTION public.threadline_identity_v1(regclass);
