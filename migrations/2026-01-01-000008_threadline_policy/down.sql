DROP FUNCTION public.threadline_detach(regclass);
DROP FUNCTION public.threadline_release_v1(regclass, text, text);
DROP FUNCTION public.threadline_capture_v1(regclass, text, text[], jsonb, text[], jsonb, text, text, text);
DROP FUNCTION public.threadline_check_readable_v1(regclass, oid);
DROP FUNCTION public.threadline_attached_v1(regclass);
DROP FUNCTION public.threadline_triggers_v1(regclass, jsonb);
DROP FUNCTION public.threadline_bound_body_v1(regclass, jsonb, text[], text[], text[], text);
DROP FUNCTION public.threadline_is_special_v1(jsonb);
DROP FUNCTION public.threadline_special_images_v1(jsonb);
