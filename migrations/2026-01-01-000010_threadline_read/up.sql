-- Reading: the functions that typed queries are made of, and that an operator calls in psql. They run with the rights of
-- the caller, who needs SELECT on the audit tables: the role threadline_reader has it.
--
--   SELECT * FROM threadline_history('users', '{"id": 42}') ORDER BY id DESC;
--   SELECT * FROM threadline_as_of('users', '{"id": 42}', '2026-03-15 10:30Z');

-- The number under which a table is audited; an error that names the table if it isn't.
CREATE OR REPLACE FUNCTION public.threadline_table(relation regclass) RETURNS integer
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    found integer;
BEGIN
    SELECT t.id INTO found
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN public.audit_tables t ON t.table_schema = n.nspname AND t.table_name = c.relname
    WHERE c.oid = relation;
    IF found IS NULL THEN
        RAISE EXCEPTION 'threadline: table % is not audited', relation
            USING ERRCODE = 'undefined_object', HINT = 'Run `threadline generate` with its model in the list, and the new migration.';
    END IF;
    RETURN found;
END $$;

-- The key as capture prints it, whatever the session's settings and however the caller wrote it.
CREATE OR REPLACE FUNCTION public.threadline_key(relation regclass, key jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
AS $$
DECLARE
    columns pg_catalog.text[];
    field pg_catalog.record;
    value pg_catalog.text;
    pk pg_catalog.jsonb := '{}';
BEGIN
    SELECT t.key_columns INTO columns FROM public.audit_tables t WHERE t.id = public.threadline_table(relation);
    IF ARRAY(SELECT jsonb_object_keys(key) k ORDER BY k) IS DISTINCT FROM ARRAY(SELECT k FROM unnest(columns) k ORDER BY k) THEN
        RAISE EXCEPTION 'threadline: the key of table % is %, not %', relation, columns, ARRAY(SELECT jsonb_object_keys(key) k ORDER BY k)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give one value for each of these columns, such as {"id": 42}.';
    END IF;
    FOR field IN
        SELECT k.name, format_type(a.atttypid, a.atttypmod) AS type
        FROM unnest(columns) k(name)
        LEFT JOIN pg_attribute a ON a.attrelid = relation AND a.attname = k.name AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        IF field.type IS NULL THEN
            value := key ->> field.name; -- the column is gone, its history is not
        ELSE
            EXECUTE format('SELECT to_jsonb(CAST($1 AS %s)) #>> ''{}''', field.type) INTO value USING key ->> field.name;
        END IF;
        pk := pk || jsonb_build_object(field.name, value);
    END LOOP;
    RETURN pk;
END $$;

-- A key under every combination of the names that its columns had: as it is first.
CREATE OR REPLACE FUNCTION public.threadline_keys(relation_id integer, pk jsonb) RETURNS jsonb[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    keys pg_catalog.jsonb[] := ARRAY[pk];
    renamed pg_catalog.record;
BEGIN
    FOR renamed IN
        SELECT f.key AS name, n.value AS former_name
        FROM public.audit_tables t, jsonb_each(t.former_columns) f, jsonb_array_elements_text(f.value) n
        WHERE t.id = relation_id AND pk ? f.key
    LOOP
        keys := keys || ARRAY(SELECT k - renamed.name || jsonb_build_object(renamed.former_name, k -> renamed.name)
                              FROM unnest(keys) k WHERE k ? renamed.name);
    END LOOP;
    RETURN keys;
END $$;

-- The newest line about a row before line `before`, TRUNCATE of the table included. One key at a time, because only then
-- the index has the lines in order: for several at once the planner may walk all of the log backwards.
CREATE OR REPLACE FUNCTION public.threadline_previous(relation_id integer, keys jsonb[], before bigint) RETURNS SETOF public.audit_changes
LANGUAGE sql STABLE
AS $$
    SELECT p.* FROM unnest(keys || '{}'::jsonb) k CROSS JOIN LATERAL (
        SELECT c.* FROM public.audit_changes c
        WHERE c.table_id = relation_id AND c.key_hash = hashtextextended(k::text, 0) AND c.table_pk = k AND c.id < before
        ORDER BY c.id DESC LIMIT 1) p
    ORDER BY p.id DESC LIMIT 1
$$;

-- Whether a row was there before line `before`, as far as the log knows: only then it has a part in a TRUNCATE.
CREATE OR REPLACE FUNCTION public.threadline_was_there_v1(relation_id integer, keys jsonb[], before bigint) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (SELECT FROM public.threadline_previous(relation_id, keys, before) p WHERE p.op IN ('insert', 'update', 'baseline'))
$$;

-- What a row's history has besides the changes under its key as it is: those under former names of its columns, and each
-- TRUNCATE of the table while the row was alive. Opaque to the planner, which takes either for many rows.
CREATE OR REPLACE FUNCTION public.threadline_other_history(relation regclass, key jsonb) RETURNS SETOF public.audit_changes
LANGUAGE plpgsql STABLE ROWS 10
AS $$
DECLARE
    relation_id CONSTANT integer := public.threadline_table(relation);
    keys CONSTANT pg_catalog.jsonb[] := public.threadline_keys(relation_id, public.threadline_key(relation, key));
BEGIN
    RETURN QUERY SELECT c.* FROM unnest(keys[2:]) k CROSS JOIN LATERAL (
        SELECT h.* FROM public.audit_changes h
        WHERE h.table_id = relation_id AND h.key_hash = hashtextextended(k::text, 0) AND h.table_pk = k) c;
    RETURN QUERY SELECT c.* FROM public.audit_changes c
        WHERE c.table_id = relation_id AND c.key_hash = hashtextextended('{}', 0) AND c.table_pk = '{}'
          AND public.threadline_was_there_v1(relation_id, keys, c.id);
END $$;

-- Every change of one row; a TRUNCATE counts if the row was alive. In no order: ORDER BY id follows the row's own.
-- It is inlined, and its halves are sorted, so that the newest page of a long history is merged from the index. The key
-- is a subquery, so that it is made once and not for each change.
CREATE OR REPLACE FUNCTION public.threadline_history(relation regclass, key jsonb) RETURNS SETOF public.audit_changes
LANGUAGE sql STABLE
AS $$
    (SELECT c.* FROM public.audit_changes c
     WHERE c.table_id = public.threadline_table(relation)
       AND c.key_hash = (SELECT hashtextextended(public.threadline_key(relation, key)::text, 0))
       AND c.table_pk = (SELECT public.threadline_key(relation, key))
     ORDER BY c.id DESC)
    UNION ALL
    (SELECT c.* FROM public.threadline_other_history(relation, key) c ORDER BY c.id DESC)
$$;

-- Every change of a table. Inlined, as threadline_history is.
CREATE OR REPLACE FUNCTION public.threadline_changes(relation regclass) RETURNS SETOF public.audit_changes
LANGUAGE sql STABLE
AS $$
    SELECT c.* FROM public.audit_changes c WHERE c.table_id = public.threadline_table(relation)
$$;

-- The row after an insert or an update, with the columns that are stored only when they change: each from the latest
-- earlier change that has it. Where the log doesn't reach back to one, or was interrupted since, it reads as omitted.
CREATE OR REPLACE FUNCTION public.threadline_whole(change public.audit_changes) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN change.op <> 'update' OR change.data_after ?& t.on_change THEN change.data_after ELSE (
        SELECT coalesce(jsonb_object_agg(c.name, CASE WHEN e.id IS NULL THEN '{"$threadline": "omitted"}' ELSE e.data_after -> c.name END)
            FILTER (WHERE e.id IS NULL OR e.data_after ? c.name), '{}') || change.data_after
        FROM unnest(t.on_change) c(name)
        LEFT JOIN LATERAL (
            SELECT l.* FROM unnest(public.threadline_keys(t.id, change.table_pk)) k CROSS JOIN LATERAL (
                SELECT p.* FROM public.audit_changes p
                WHERE p.table_id = t.id AND p.key_hash = hashtextextended(k::text, 0) AND p.table_pk = k AND p.id < change.id
                  AND (p.op <> 'update' OR p.data_after ? c.name)
                ORDER BY p.id DESC LIMIT 1) l
            ORDER BY l.id DESC LIMIT 1
        ) e ON e.op IN ('insert', 'update', 'baseline')
            AND NOT EXISTS (SELECT FROM unnest(t.gaps) g WHERE g && tstzrange(e.captured_at, change.captured_at, '[]'))
            AND NOT EXISTS (SELECT FROM jsonb_array_elements_text(t.identity -> 'column_gaps' -> c.name) g WHERE g::tstzrange && tstzrange(e.captured_at, change.captured_at, '[]'))
        WHERE NOT change.data_after ? c.name)
    END
    FROM public.audit_tables t WHERE t.id = change.table_id
$$;

-- What is known of the row that a change is about: the row after it, or for a delete the last known row.
CREATE OR REPLACE FUNCTION public.threadline_state(change public.audit_changes) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT CASE change.op WHEN 'update' THEN public.threadline_whole(change) WHEN 'delete' THEN (
        SELECT nullif(coalesce(public.threadline_whole(p), '{}') || coalesce(change.changed_from, '{}'), '{}')
        FROM (SELECT) one
        LEFT JOIN LATERAL public.threadline_previous(
            change.table_id, public.threadline_keys(change.table_id, change.table_pk), change.id) p ON true)
    ELSE change.data_after END
$$;

-- One row at a moment, by the time of writing:
--   found            the row, and the change it comes from
--   deleted          by which change
--   not_yet_created  the log covers the moment, and knows of no such row
--   unknown          the log doesn't reach back to it
CREATE OR REPLACE FUNCTION public.threadline_as_of(relation regclass, key jsonb, moment timestamptz)
RETURNS TABLE (outcome text, change public.audit_changes)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    audited public.audit_tables;
    keys pg_catalog.jsonb[];
    next_id bigint;
    next_op pg_catalog.text;
    next_at pg_catalog.timestamptz;
BEGIN
    audited := public.threadline_entry(relation);
    keys := public.threadline_keys(audited.id, public.threadline_key(relation, key));
    -- The newest of the row's history by then. It may be far behind later ones, which the index has the times of, and none of
    -- them has to be looked at; it is not looked for by time, since a clock may have been set back.
    SELECT c.* INTO change FROM unnest(keys || '{}'::jsonb) k CROSS JOIN LATERAL (
        SELECT c.* FROM (
            SELECT e.id FROM public.audit_changes e
            WHERE e.table_id = audited.id AND e.key_hash = hashtextextended(k::text, 0) AND e.captured_at <= moment
            ORDER BY e.id DESC) e
        JOIN public.audit_changes c ON c.id = e.id
        WHERE c.table_pk = k AND (c.op <> 'truncate' OR public.threadline_was_there_v1(audited.id, keys, c.id))
        ORDER BY e.id DESC LIMIT 1) c
    ORDER BY c.id DESC LIMIT 1;
    IF EXISTS (SELECT FROM unnest(audited.gaps) g WHERE g && tstzrange(coalesce(change.captured_at, moment), moment, '[]')) THEN
        change := NULL;
        outcome := 'unknown';
    ELSIF change.id IS NOT NULL THEN
        outcome := CASE WHEN change.op IN ('delete', 'truncate') THEN 'deleted' ELSE 'found' END;
        IF public.threadline_is_altered_v1(audited.identity) THEN
            change.data_after := public.threadline_known_v1(audited.identity, audited.former_columns, change.data_after, public.threadline_whole(change), change.captured_at, moment);
        END IF;
    ELSE
        SELECT h.id, h.op, h.captured_at INTO next_id, next_op, next_at FROM public.threadline_history(relation, key) h
        WHERE h.captured_at > moment ORDER BY h.id LIMIT 1;
        outcome := CASE
            -- Had it been there, its end would be recorded, unless all rows went at once.
            WHEN next_op = 'insert' AND moment >= audited.installed_at
                AND NOT EXISTS (SELECT FROM unnest(audited.gaps) g WHERE g && tstzrange(moment, next_at))
                AND NOT EXISTS (
                    SELECT FROM public.audit_changes c
                    WHERE c.table_id = audited.id AND c.key_hash = hashtextextended('{}', 0) AND c.table_pk = '{}' AND c.captured_at > moment AND c.id < next_id)
                THEN 'not_yet_created'
            -- All rows were known then; one that was there nevertheless has come in a gap since.
            WHEN moment >= audited.horizon AND NOT EXISTS (SELECT FROM unnest(audited.gaps) g WHERE g && tstzrange(audited.horizon, moment, '[]'))
                AND (coalesce(next_op, 'insert') = 'insert' OR EXISTS (SELECT FROM unnest(audited.gaps) g WHERE g && tstzrange(moment, next_at))) THEN 'not_yet_created'
            ELSE 'unknown' END;
    END IF;
    RETURN NEXT;
END $$;

-- How recorded rows of a table are decoded, looked up once for all rows of a query. What doesn't apply is absent:
--   on_change   columns that may be missing from an update
--   former      column -> its former names, newest first
--   redacted    column -> the placeholders that it was ever stored as
--   added       column -> the value that PostgreSQL gave the rows that were there before the column; omitted if nobody knows
--   fill        column -> what the caller gives columns that the log has no value for
--   placeholder column -> what stands in for a value that is not in the log, where it can and has to
--   required    the NOT NULL columns in their order
--   nothing     an object in which each of them is null
CREATE OR REPLACE FUNCTION public.threadline_recipe(relation regclass, fill jsonb) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    WITH present AS (
        SELECT a.attname::text AS name, a.attnum AS number, a.attnotnull AS required,
               a.atttypid IN ('text'::regtype, 'varchar'::regtype) AND a.atttypmod = -1 AS unlimited_text
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped)
    SELECT jsonb_object_agg(i.key, i.value) FILTER (WHERE i.value <> '[]' AND i.value <> '{}')
    FROM public.threadline_entry(relation) t
    CROSS JOIN LATERAL jsonb_each(jsonb_build_object(
        'on_change', to_jsonb(t.on_change),
        'former', t.former_columns,
        'redacted', (SELECT coalesce(jsonb_object_agg(r.key, r.value), '{}') FROM jsonb_each(t.redacted) r JOIN present p ON p.name = r.key),
        'added', t.added_columns,
        'fill', coalesce(fill, '{}'),
        'placeholder', (SELECT coalesce(jsonb_object_agg(p.name, coalesce(t.redacted -> p.name ->> 0, '[REDACTED]')), '{}')
                        FROM present p WHERE p.required AND p.unlimited_text),
        'required', (SELECT coalesce(jsonb_agg(p.name ORDER BY p.number), '[]') FROM present p WHERE p.required),
        'nothing', (SELECT coalesce(jsonb_object_agg(p.name, NULL), '{}') FROM present p WHERE p.required))) i
$$;

-- An image with the application's own values instead of the quoted ones; see threadline_quoted_v1.
CREATE OR REPLACE FUNCTION public.threadline_unquoted_v1(image jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT image || coalesce(jsonb_object_agg(i.key, i.value -> 'value'), '{}') FROM jsonb_each(image) i
    WHERE jsonb_typeof(i.value) = 'object' AND i.value ->> '$threadline' = 'value'
$$;

-- A recorded row as a record of its table, as the table is today. Never fails: what can't be decoded is said in
-- `problem`. Redacted and omitted values are taken out; where the column is NOT NULL and text, a placeholder stands in.
-- `absent` are the NOT NULL columns that are left without a value.
CREATE OR REPLACE FUNCTION public.threadline_decode(
    base anyelement, recipe jsonb, data jsonb,
    OUT row_image anyelement, OUT problem text, OUT redacted text[], OUT omitted text[], OUT absent text[]
)
LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601' SET lc_monetary = 'C'
SET xmloption = 'content' SET array_nulls = 'on'
AS $$
DECLARE
    image pg_catalog.jsonb := data;
    field pg_catalog.record;
BEGIN
    redacted := '{}';
    omitted := '{}';
    absent := '{}';
    IF data IS NULL THEN
        RETURN;
    END IF;
    IF recipe ? 'former' THEN
        -- Of several the last is kept, so the newest is last.
        SELECT image || coalesce(jsonb_object_agg(f.key, image -> n.value ORDER BY n.place DESC), '{}') INTO image
        FROM jsonb_each(recipe -> 'former') f, jsonb_array_elements_text(f.value) WITH ORDINALITY n(value, place)
        WHERE NOT image ? f.key AND image ? n.value;
    END IF;
    IF recipe ? 'redacted' THEN
        redacted := ARRAY(SELECT r.key FROM jsonb_each(recipe -> 'redacted') r
                          WHERE NOT image ? r.key OR r.value @> (image -> r.key) ORDER BY r.key);
    END IF;
    IF recipe ? 'added' THEN
        -- A default must not pass for a value that is kept out.
        image := (recipe -> 'added') - redacted - ARRAY(SELECT jsonb_object_keys(recipe -> 'fill')) || image;
    END IF;
    IF public.threadline_is_marked_v1(image) THEN
        omitted := ARRAY(SELECT i.key FROM jsonb_each(image) i
                         WHERE jsonb_typeof(i.value) = 'object' AND i.value ->> '$threadline' = 'omitted' ORDER BY i.key);
        image := public.threadline_unquoted_v1(image);
    END IF;
    IF redacted <> '{}' OR omitted <> '{}' OR recipe ? 'fill' THEN
        image := image - redacted - omitted;
        image := (SELECT coalesce(jsonb_object_agg(p.key, CASE WHEN p.key = ANY (omitted) THEN '"[OMITTED]"' ELSE p.value END), '{}')
                FROM jsonb_each(recipe -> 'placeholder') p WHERE p.key = ANY (redacted || omitted))
            || coalesce(recipe -> 'fill', '{}') || image;
    END IF;
    -- It finds a null in an array too, and then nothing is absent.
    IF (recipe -> 'nothing' || jsonb_strip_nulls(image)) @? '$.* ? (@ == null)' THEN
        absent := ARRAY(SELECT r.name FROM jsonb_array_elements_text(recipe -> 'required') WITH ORDINALITY r(name, i)
                        WHERE coalesce(image -> r.name, 'null') = 'null' ORDER BY r.i);
    END IF;
    BEGIN
        row_image := jsonb_populate_record(base, image);
    EXCEPTION WHEN OTHERS THEN
        problem := SQLERRM;
        -- Each by itself, since a domain may refuse the NULL of a column that is left out.
        FOR field IN
            SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type FROM pg_catalog.pg_type t
            JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE t.oid = pg_typeof(base) ORDER BY a.attnum
        LOOP
            BEGIN
                EXECUTE format('SELECT FROM jsonb_to_record($1) AS r(%I %s)', field.name, field.type) USING jsonb_build_object(field.name, image -> field.name);
            EXCEPTION WHEN OTHERS THEN
                problem := format('column %s: %s', field.name, SQLERRM);
                EXIT;
            END;
        END LOOP;
    END;
END $$;

-- The same for one row, as an operator calls it. `fill` has values for columns that the log has none for.
CREATE OR REPLACE FUNCTION public.threadline_decode(
    base anyelement, relation regclass, data jsonb, fill jsonb,
    OUT row_image anyelement, OUT problem text, OUT redacted text[], OUT omitted text[], OUT absent text[]
)
LANGUAGE sql STABLE
AS $$ SELECT d.* FROM public.threadline_decode(base, public.threadline_recipe(relation, fill), data) d $$;

-- The same for the lines of a query of `id` and `data`, as SQL: `image` is the object of which the record is made. A recipe is
-- walked here once and not for each line, which takes several times as long as decoding it; so there are two ways through
-- one recipe, and a test holds them together. For lines in which no value was omitted.
CREATE OR REPLACE FUNCTION public.threadline_images(recipe jsonb, lines text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    given CONSTANT pg_catalog.jsonb := coalesce(recipe -> 'added', '{}') || coalesce(recipe -> 'fill', '{}');
    named pg_catalog.text := lines;
    renamed pg_catalog.text;
    hidden pg_catalog.text;
BEGIN
    SELECT string_agg(format('CASE WHEN c.data ? %1$L THEN ''{}'' %2$s ELSE ''{}'' END', f.key, (
            SELECT string_agg(format('WHEN c.data ? %1$L THEN jsonb_build_object(%2$L, c.data -> %1$L)', n.name, f.key), ' ' ORDER BY n.place)
            FROM jsonb_array_elements_text(f.value) WITH ORDINALITY n(name, place))), ' || ')
        INTO renamed FROM jsonb_each(recipe -> 'former') f WHERE jsonb_array_length(f.value) > 0;
    IF renamed IS NOT NULL THEN
        named := format('SELECT c.id, c.data || %s AS data FROM (%s) c OFFSET 0', renamed, lines);
    END IF;
    SELECT string_agg(format(' || jsonb_build_object(%1$L, CASE WHEN NOT c.data ? %1$L OR %2$L::jsonb @> (c.data -> %1$L) THEN %3$s ELSE c.data -> %1$L END)',
            r.key, r.value, coalesce(quote_literal(coalesce(recipe -> 'fill' -> r.key, recipe -> 'placeholder' -> r.key)) || '::jsonb', 'NULL')), '')
        INTO hidden FROM jsonb_each(recipe -> 'redacted') r;
    RETURN format('SELECT c.id, c.data, %s AS image FROM (%s) c',
        concat(CASE WHEN given <> '{}' THEN format('%L::jsonb || ', given) END, 'c.data', hidden), named);
END $$;
