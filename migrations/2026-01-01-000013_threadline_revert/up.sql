-- What a row was before a change, which values a change brought, and what undoing changes takes. They run with the rights
-- of the caller.

-- The row before an update or a delete, as earlier changes left it; NULL where the log doesn't reach back to it, or was
-- interrupted since.
CREATE OR REPLACE FUNCTION public.threadline_earlier(change public.audit_changes) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT public.threadline_known_v1(t.identity, t.former_columns, p.data_after, public.threadline_whole(p), p.captured_at, change.captured_at)
    FROM public.audit_tables t
    CROSS JOIN LATERAL public.threadline_previous(t.id, public.threadline_keys(t.id, change.table_pk), change.id) p
    WHERE t.id = change.table_id AND change.op IN ('update', 'delete') AND p.op IN ('insert', 'update', 'baseline')
      AND NOT EXISTS (SELECT FROM unnest(t.gaps) g WHERE g && tstzrange(p.captured_at, change.captured_at, '[]'))
$$;

-- A column under its name and its former ones.
CREATE OR REPLACE FUNCTION public.threadline_names(relation regclass, name text) RETURNS text[]
LANGUAGE sql STABLE
AS $$
    SELECT name || ARRAY(SELECT jsonb_array_elements_text(t.former_columns -> name))
    FROM public.audit_tables t WHERE t.id = public.threadline_table(relation)
$$;

-- A value of a column as capture prints it: one object for each name that the column had. None for a placeholder, which only
-- stands for a value.
CREATE OR REPLACE FUNCTION public.threadline_values(relation regclass, name text, value anyelement) RETURNS jsonb[]
LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
AS $$
DECLARE
    audited public.audit_tables;
    type pg_catalog.text;
    printed pg_catalog.jsonb;
BEGIN
    SELECT t.* INTO audited FROM public.audit_tables t WHERE t.id = public.threadline_table(relation);
    SELECT format_type(a.atttypid, a.atttypmod) INTO type FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = relation AND a.attname = name AND a.attnum > 0 AND NOT a.attisdropped;
    IF type IS NULL THEN
        printed := to_jsonb(value); -- the column is gone, its history is not
    ELSIF coalesce(audited.rules -> 'as_text', '[]') ? name THEN
        EXECUTE format('SELECT to_jsonb(CAST($1 AS %s)::text)', type) INTO printed USING value;
    ELSE
        BEGIN
            EXECUTE format('SELECT to_jsonb(CAST($1 AS %s))', type) INTO printed USING value;
        EXCEPTION WHEN untranslatable_character OR numeric_value_out_of_range THEN
            printed := to_jsonb(value::text); -- a json value that jsonb can't hold is kept as text
        END;
    END IF;
    printed := coalesce(public.threadline_quoted_v1(printed), 'null');
    IF coalesce(audited.redacted -> name @> printed, false) THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(SELECT jsonb_build_object(n, printed) FROM unnest(public.threadline_names(relation, name)) n);
END $$;

-- Whether a recorded row has one of these fields with exactly its value.
CREATE OR REPLACE FUNCTION public.threadline_holds_one_of(recorded jsonb, fields jsonb[]) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$ SELECT EXISTS (SELECT FROM unnest(fields) f, jsonb_each(f) e WHERE recorded -> e.key = e.value) $$;

-- Recorded rows, or parts of them, as records of their table: an array of objects. What is missing is NULL.
CREATE OR REPLACE FUNCTION public.threadline_records_of(base anyelement, data jsonb) RETURNS SETOF anyelement
LANGUAGE plpgsql STABLE
SET array_nulls = 'on' SET xmloption = 'content' SET lc_monetary = 'C'
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
AS $$
BEGIN
    RETURN QUERY SELECT * FROM jsonb_populate_recordset(base, data);
END $$;

-- Recorded values under the names that their columns have now. Of several former names the newest counts, as in threadline_decode.
CREATE OR REPLACE FUNCTION public.threadline_named(former_columns jsonb, data jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT (data || coalesce(jsonb_object_agg(f.key, data -> n.value ORDER BY n.place DESC), '{}')) - coalesce(array_agg(n.value), '{}')
    FROM jsonb_each(former_columns) f, jsonb_array_elements_text(f.value) WITH ORDINALITY n(value, place)
    WHERE NOT data ? f.key AND data ? n.value
$$;

-- The condition that a row `t` has the key of `w.k`, a record of the same table.
CREATE OR REPLACE FUNCTION public.threadline_same_key_v1(key_columns text[]) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$ SELECT string_agg(format('t.%1$I = (w.k).%1$I', c), ' AND ') FROM unnest(key_columns) c $$;

-- The condition that `u.target`, an image, has other values of some columns than `u.live`.
CREATE OR REPLACE FUNCTION public.threadline_differs_v1(columns text[]) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$ SELECT string_agg(format('u.target -> %1$L IS DISTINCT FROM u.live -> %1$L', c), ' OR ') FROM unnest(columns) c $$;

-- The live rows that have these keys, each as capture would record it, less what is redacted; NULL where there is none. All of a
-- table's rows are looked up by one query, which locks them in the order of the keys. A row that row level security hides
-- would seem gone: reading it is an error instead. As in capture, images are made column by column only where they have to be;
-- and of rows as they are once they are locked, which a subquery beside them would not be.
CREATE OR REPLACE FUNCTION public.threadline_live(audited public.audit_tables, keys jsonb[], locked boolean) RETURNS jsonb[]
LANGUAGE plpgsql
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C' SET array_nulls = 'on' SET xmloption = 'content' SET row_security = off
AS $$
DECLARE
    relation CONSTANT pg_catalog.regclass := format('%I.%I', audited.table_schema, audited.table_name);
    rules CONSTANT pg_catalog.jsonb := coalesce(audited.rules, '{"max_value_bytes": 1000000, "as_text": []}');
    is_plain CONSTANT boolean := NOT rules ? 'as_text' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type f ON f.oid = a.atttypid
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND CASE WHEN f.oid < 16384 AND f.typelem = 0 THEN f.oid = 'json'::regtype
            ELSE 'json'::regtype IN (SELECT public.threadline_type_parts_v1(f.oid)) END);
    images pg_catalog.jsonb[];
BEGIN
    EXECUTE format('SELECT array_agg(CASE WHEN l.place IS NOT NULL THEN CASE WHEN pg_column_size(p.image) <= %5$s AND NOT public.threadline_is_marked_v1(p.image) THEN p.image ELSE %4$s END - $2 END ORDER BY u.place)
        FROM unnest($1) WITH ORDINALITY u(key, place)
        LEFT JOIN (SELECT DISTINCT ON (i.place) i.* FROM (
            SELECT w.place, t AS r FROM (SELECT u.place, jsonb_populate_record(NULL::%1$s, u.key) AS k FROM unnest($1) WITH ORDINALITY u(key, place) OFFSET 0) w
            JOIN %1$s t ON %2$s ORDER BY w.place %3$s) i) l ON l.place = u.place
        CROSS JOIN LATERAL (SELECT CASE WHEN %6$L AND pg_column_size(l.r) <= %5$s THEN to_jsonb(l.r) END AS image OFFSET 0) p',
        relation, public.threadline_same_key_v1(audited.key_columns), CASE WHEN locked THEN 'FOR UPDATE OF t' END,
        public.threadline_image_sql_v1(relation::oid, rules, '(l.r)', '{}'), rules -> 'max_value_bytes', is_plain)
        INTO images USING keys, ARRAY(SELECT jsonb_object_keys(audited.redacted));
    RETURN images;
END $$;

-- The keys of a table's rows before a line of the log, as far as the log knows them. It reads all of the table's changes.
CREATE OR REPLACE FUNCTION public.threadline_alive(relation_id integer, before bigint) RETURNS SETOF jsonb
LANGUAGE sql STABLE
AS $$
    SELECT l.key FROM (
        SELECT DISTINCT ON (n.key) n.key, c.op
        FROM public.audit_tables t JOIN public.audit_changes c ON c.table_id = t.id
        CROSS JOIN LATERAL (SELECT CASE t.former_columns WHEN '{}' THEN c.table_pk ELSE public.threadline_named(t.former_columns, c.table_pk) END AS key) n
        WHERE t.id = relation_id AND c.op <> 'truncate' AND c.id < before AND c.id > (
            SELECT coalesce(max(e.id), 0) FROM public.audit_changes e
            WHERE e.table_id = relation_id AND e.key_hash = hashtextextended('{}', 0) AND e.op = 'truncate' AND e.id < before)
        ORDER BY n.key, c.id DESC) l
    WHERE l.op <> 'delete'
$$;

-- The net changes of a transaction, or of one change: for each row what it was before and after, as the log knows. With
-- `shown`, the rows of which every line is among those.
--
-- A trigger that writes in the middle of a statement is captured before what it reacted to, and the log's last line about a
-- row is always right, but not the first one. So what came before is read from the line before them all; the values that
-- the first line kept count where it is the only one, and where that line has none.
--
-- It is one query, and looks a line up by its number or by the key of its row: a join could read all of the log. What few tables
-- need, former names of columns and values that are stored only when they change, is left out for the others.
CREATE OR REPLACE FUNCTION public.threadline_net(tx uuid, single bigint, shown bigint[])
RETURNS TABLE (table_id integer, key jsonb, first_id bigint, last_id bigint, remade boolean, changed text[], before jsonb, after jsonb)
LANGUAGE sql STABLE
AS $$
    SELECT t.id, n.key, n.first_id, n.last_id, n.remade,
        CASE WHEN cardinality(n.ids) = 1 AND t.former_columns = '{}' THEN coalesce((a.line).changed_fields, '{}') ELSE
            ARRAY(SELECT DISTINCT coalesce(now.key, f) FROM public.audit_changes c, unnest(c.changed_fields) f
                  LEFT JOIN jsonb_each(t.former_columns) now ON now.value ? f AND NOT t.former_columns ? f
                  WHERE c.id = ANY (n.ids) ORDER BY 1) END,
        CASE t.former_columns WHEN '{}' THEN i.before ELSE public.threadline_named(t.former_columns, i.before) END,
        CASE t.former_columns WHEN '{}' THEN i.after ELSE public.threadline_named(t.former_columns, i.after) END
    FROM (
        SELECT l.table_id, CASE r.former_columns WHEN '{}' THEN l.pk ELSE public.threadline_named(r.former_columns, l.pk) END AS key,
            min(l.id) AS first_id, max(l.id) AS last_id,
            bool_or(l.op <> 'update') AS remade, array_agg(l.id) AS ids,
            coalesce(min(l.id) FILTER (WHERE l.op = 'insert') > min(l.id) FILTER (WHERE l.op IN ('delete', 'truncate')), NOT bool_or(l.op = 'insert')) AS existed
        FROM (
            SELECT c.table_id, c.table_pk AS pk, c.id, c.op FROM public.audit_changes c
            WHERE (c.transaction_id = tx OR c.id = single) AND c.op IN ('insert', 'update', 'delete')
            UNION ALL
            SELECT c.table_id, a.pk, c.id, c.op FROM public.audit_changes c, public.threadline_alive(c.table_id, c.id) a(pk)
            WHERE (c.transaction_id = tx OR c.id = single) AND c.op = 'truncate') l
        JOIN public.audit_tables r ON r.id = l.table_id
        GROUP BY 1, 2
        -- A subquery is hashed; a join with an array of unknown length may compare all with all.
        HAVING shown IS NULL OR count(*) FILTER (WHERE l.id IN (SELECT unnest(shown))) = count(*)) n
    JOIN (
        SELECT e.*, public.threadline_is_altered_v1(e.identity) AS is_altered FROM (SELECT DISTINCT c.table_id FROM public.audit_changes c WHERE c.transaction_id = tx OR c.id = single) i
        CROSS JOIN LATERAL public.threadline_entry_of_v1(i.table_id) e OFFSET 0) t ON t.id = n.table_id
    CROSS JOIN LATERAL (SELECT c.captured_at, c.changed_from FROM public.audit_changes c WHERE c.id = n.first_id LIMIT 1) b
    CROSS JOIN LATERAL (SELECT c AS line FROM public.audit_changes c WHERE c.id = n.last_id LIMIT 1) a
    LEFT JOIN LATERAL (
        SELECT p.op IN ('insert', 'update', 'baseline') AS existed, CASE WHEN p.op IN ('insert', 'update', 'baseline') THEN
            CASE WHEN t.is_altered THEN public.threadline_known_v1(t.identity, t.former_columns, p.data_after, w.image, p.captured_at, b.captured_at) ELSE w.image END END AS image
        FROM public.threadline_previous(t.id, CASE t.former_columns WHEN '{}' THEN ARRAY[n.key] ELSE public.threadline_keys(t.id, n.key) END, n.first_id) p
        CROSS JOIN LATERAL (SELECT CASE t.on_change WHEN '{}' THEN p.data_after ELSE public.threadline_whole(p) END AS image) w
        WHERE NOT EXISTS (SELECT FROM unnest(t.gaps) g WHERE g && tstzrange(p.captured_at, b.captured_at, '[]'))) e ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN coalesce(e.existed, n.existed) THEN
            CASE WHEN cardinality(n.ids) = 1 THEN coalesce(e.image, '{}') || coalesce(b.changed_from, '{}')
                ELSE coalesce(e.image, '{}') || (coalesce(b.changed_from, '{}') - ARRAY(SELECT jsonb_object_keys(e.image - public.threadline_list_v1(t.rules, 'ignore_only')))) END END AS before,
            CASE WHEN (a.line).op IN ('insert', 'update') THEN CASE t.on_change WHEN '{}' THEN (a.line).data_after ELSE public.threadline_whole(a.line) END END AS after
        OFFSET 0) i
$$;

-- The columns in which live rows differ from what they were left as, by the places of the rows that do. What can't be compared,
-- because it is redacted or was not stored, has changed if a later change says so.
CREATE OR REPLACE FUNCTION public.threadline_since(audited public.audit_tables, keys jsonb[], last_ids bigint[], recorded jsonb[], live jsonb[])
RETURNS TABLE (place bigint, columns text[])
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    incomparable CONSTANT pg_catalog.text[] := ARRAY(SELECT jsonb_object_keys(audited.redacted))
        || public.threadline_list_v1(audited.rules, 'except_columns') || public.threadline_list_v1(audited.rules, 'ignore_only');
BEGIN
    RETURN QUERY
    WITH kept AS (
        SELECT u.*, record_image_eq(ROW(u.recorded), ROW(u.live)) AS is_same
        FROM (
            SELECT unnest(keys) AS key, unnest(last_ids) AS last_id, unnest(recorded) AS recorded, unnest(live) AS live,
                generate_series(1, cardinality(keys))::bigint AS place) u
        WHERE u.live IS NOT NULL AND u.recorded IS NOT NULL
        OFFSET 0),
    named AS (
        SELECT k.place, k.recorded, k.live, e.key AS name, true AS differs
        FROM kept k CROSS JOIN jsonb_each(k.live) e
        WHERE NOT k.is_same AND e.value::text <> (k.recorded -> e.key)::text
        UNION ALL
        SELECT k.place, k.recorded, k.live, f.name, false
        FROM kept k
        CROSS JOIN LATERAL (
            SELECT c.changed_fields FROM unnest(CASE audited.former_columns WHEN '{}' THEN ARRAY[k.key] ELSE public.threadline_keys(audited.id, k.key) END) n(key)
            JOIN public.audit_changes c ON c.table_id = audited.id AND c.key_hash = hashtextextended(n.key::text, 0) AND c.table_pk = n.key AND c.id > k.last_id
            OFFSET 0) c
        CROSS JOIN unnest(c.changed_fields) f(name))
    SELECT n.place, array_agg(DISTINCT n.name ORDER BY n.name) FROM named n
    WHERE n.differs = coalesce(n.live ? n.name AND n.recorded ? n.name AND n.recorded -> n.name <> '{"$threadline": "omitted"}' AND n.name <> ALL (incomparable), false)
    GROUP BY n.place;
END $$;

-- What a unique index or an exclusion constraint of a table compares, as SQL: `columns` are all that it depends on, `definitions` are
-- compared by `operators`, of rows for which `predicate` holds. Names without a table are columns.
CREATE OR REPLACE FUNCTION public.threadline_unique_keys_v1(relation regclass)
RETURNS TABLE (name text, columns text[], definitions text[], operators text[], predicate text)
LANGUAGE sql STABLE
AS $$
    SELECT i.indexrelid::regclass::text, c.columns, p.definitions, p.operators, pg_get_expr(i.indpred, i.indrelid)
    FROM pg_catalog.pg_index i
    LEFT JOIN pg_catalog.pg_constraint x ON x.conindid = i.indexrelid AND x.contype = 'x'
    CROSS JOIN LATERAL (
        SELECT array_agg(a.attname::text ORDER BY k.position, a.attnum) AS columns
        FROM pg_catalog.pg_attribute a
        LEFT JOIN unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, position) ON k.attnum = a.attnum
        WHERE a.attrelid = i.indrelid AND (k.position <= i.indnkeyatts OR k.position IS NULL AND EXISTS (
            -- Columns of its expressions and of its predicate.
            SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum))) c
    CROSS JOIN LATERAL (
        SELECT array_agg(format('(%s)', pg_get_indexdef(i.indexrelid, n, true)) ORDER BY n) AS definitions,
            array_agg(coalesce((
                SELECT format('OPERATOR(%I.%s)', s.nspname, o.oprname) FROM pg_catalog.pg_operator o
                JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace WHERE o.oid = x.conexclop[n]), '=') ORDER BY n) AS operators
        FROM generate_series(1, i.indnkeyatts::integer) n) p
    WHERE i.indrelid = relation AND (i.indisunique OR i.indisexclusion) AND i.indisvalid
$$;

-- Who stands in the way of rows that are to be written as `target`, by their places: rows that hold what a unique index or an
-- exclusion constraint lets only one have. Of an update, only indexes that have one of its columns; none that has all of the key,
-- which only the row itself has. Each holder is looked up by the index.
CREATE OR REPLACE FUNCTION public.threadline_taken_v1(audited public.audit_tables, keys jsonb[], live jsonb[], target jsonb[])
RETURNS TABLE (place bigint, taken jsonb)
LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C' SET array_nulls = 'on' SET xmloption = 'content' SET row_security = off
AS $$
DECLARE
    relation CONSTANT pg_catalog.regclass := format('%I.%I', audited.table_schema, audited.table_name);
    candidate pg_catalog.record;
BEGIN
    FOR candidate IN
        SELECT u.* FROM public.threadline_unique_keys_v1(relation) u
        WHERE NOT (u.operators <@ '{=}' AND u.definitions @> ARRAY(SELECT format('(%I)', k) FROM unnest(audited.key_columns) k)) ORDER BY u.name
    LOOP
        RETURN QUERY EXECUTE format('SELECT w.place, jsonb_build_object(''constraint'', $4, ''columns'', $5, ''holder'', h.key)
            FROM (SELECT r.place, r.k, v.* FROM (
                    SELECT u.place, jsonb_populate_record(NULL::%1$s, u.target) AS r, jsonb_populate_record(NULL::%1$s, u.key) AS k
                    FROM (SELECT unnest($1) AS key, unnest($2) AS live, unnest($3) AS target, generate_series(1, cardinality($1))::bigint AS place) u WHERE u.target ?& $5 AND (%2$s) OFFSET 0) r
                CROSS JOIN LATERAL (SELECT %3$s FROM (SELECT (r.r).*) t WHERE %4$s) v OFFSET 0) w
            CROSS JOIN LATERAL (SELECT jsonb_build_object(%5$s) AS key FROM %1$s t WHERE %6$s AND (%4$s) AND NOT (%7$s) LIMIT 1) h',
            relation, public.threadline_differs_v1(candidate.columns),
            (SELECT string_agg(format('%s AS "!%s"', d, n), ', ') FROM unnest(candidate.definitions) WITH ORDINALITY u(d, n)),
            coalesce(candidate.predicate, 'true'),
            (SELECT string_agg(format('%1$L, to_jsonb(t.%1$I) #>> ''{}''', k), ', ') FROM unnest(audited.key_columns) k),
            (SELECT string_agg(format('%s %s w."!%s"', d, o, n), ' AND ') FROM unnest(candidate.definitions, candidate.operators) WITH ORDINALITY u(d, o, n)),
            public.threadline_same_key_v1(audited.key_columns))
            USING keys, live, target, candidate.name, candidate.columns;
    END LOOP;
END $$;

-- The foreign keys without the row that they name, of rows that are to be written as `target`, by their places. Of an update, only
-- those that have one of its columns.
CREATE OR REPLACE FUNCTION public.threadline_orphaned_v1(audited public.audit_tables, live jsonb[], target jsonb[])
RETURNS TABLE (place bigint, orphaned jsonb)
LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET lc_monetary = 'C' SET array_nulls = 'on' SET xmloption = 'content' SET row_security = off
AS $$
DECLARE
    relation CONSTANT pg_catalog.regclass := format('%I.%I', audited.table_schema, audited.table_name);
    candidate pg_catalog.record;
BEGIN
    FOR candidate IN
        SELECT f.* FROM public.threadline_foreign_keys_v1() f WHERE f.child = relation ORDER BY f.name
    LOOP
        RETURN QUERY EXECUTE format('SELECT w.place, jsonb_build_object(''constraint'', $3, ''columns'', $4, ''parent'', $5)
            FROM (SELECT u.place, jsonb_populate_record(NULL::%1$s, u.target) AS r
                FROM (SELECT unnest($1) AS live, unnest($2) AS target, generate_series(1, cardinality($1))::bigint AS place) u WHERE u.target ?& $4 AND (%2$s) OFFSET 0) w
            WHERE %3$s AND NOT EXISTS (SELECT FROM %4$s p WHERE %5$s)',
            relation, public.threadline_differs_v1(candidate.child_columns),
            (SELECT string_agg(format('(w.r).%I IS NOT NULL', c), ' AND ') FROM unnest(candidate.child_columns) c), candidate.parent,
            (SELECT string_agg(format('p.%I = (w.r).%I', p, c), ' AND ') FROM unnest(candidate.parent_columns, candidate.child_columns) u(p, c)))
            USING live, target, candidate.name, candidate.child_columns, candidate.parent::text;
    END LOOP;
END $$;

-- Values before that can be put back. A json value that jsonb can't hold was kept as its text, and would come back as a JSON
-- string: it counts as omitted. `documents` are the columns of type json.
CREATE OR REPLACE FUNCTION public.threadline_restorable(documents text[], before jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    restorable pg_catalog.jsonb := before;
    name pg_catalog.text;
    is_jsonb boolean;
BEGIN
    FOREACH name IN ARRAY documents LOOP
        CONTINUE WHEN jsonb_typeof(before -> name) IS DISTINCT FROM 'string';
        is_jsonb := false;
        BEGIN
            is_jsonb := (before ->> name)::jsonb IS NOT NULL;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
        BEGIN
            IF NOT is_jsonb AND (before ->> name)::json IS NOT NULL THEN
                restorable := restorable || jsonb_build_object(name, '{"$threadline": "omitted"}'::jsonb);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            NULL; -- no document at all: the value is a string
        END;
    END LOOP;
    RETURN restorable;
END $$;

-- Every foreign key of the database, that of a partition left out.
CREATE OR REPLACE FUNCTION public.threadline_foreign_keys_v1()
RETURNS TABLE (name text, child regclass, child_columns text[], parent regclass, parent_columns text[], is_deferrable boolean)
LANGUAGE sql STABLE
AS $$
    SELECT f.conname::text, f.conrelid::regclass,
        ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY k(attnum, position)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum ORDER BY k.position),
        f.confrelid::regclass,
        ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY k(attnum, position)
              JOIN pg_catalog.pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum ORDER BY k.position),
        f.condeferrable
    FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.conparentid = 0
$$;

-- The live rows that refer to the rows with these keys, by their places.
CREATE OR REPLACE FUNCTION public.threadline_referring_v1(audited public.audit_tables, keys jsonb[])
RETURNS TABLE (place bigint, referring jsonb)
LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C' SET array_nulls = 'on' SET xmloption = 'content' SET row_security = off
AS $$
DECLARE
    relation CONSTANT pg_catalog.regclass := format('%I.%I', audited.table_schema, audited.table_name);
    reference pg_catalog.record;
BEGIN
    FOR reference IN
        SELECT f.*, t.id AS table_id, t.key_columns FROM public.threadline_foreign_keys_v1() f
        JOIN pg_catalog.pg_class c ON c.oid = f.child JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN public.audit_tables t ON t.table_schema = n.nspname AND t.table_name = c.relname
        WHERE f.parent = relation
        ORDER BY f.name, f.child
    LOOP
        RETURN QUERY EXECUTE format('SELECT w.place, jsonb_build_object(''constraint'', $2, ''columns'', $3, ''child'', $4, ''table_id'', $5, ''keys'', jsonb_agg(%s))
            FROM (SELECT u.place, jsonb_populate_record(NULL::%2$s, u.key) AS k FROM unnest($1) WITH ORDINALITY u(key, place) WHERE u.key IS NOT NULL OFFSET 0) w
            JOIN %2$s t ON %3$s JOIN %4$s r ON %5$s GROUP BY w.place',
            coalesce(format('jsonb_build_object(%s)', (SELECT string_agg(format('%1$L, to_jsonb(r.%1$I) #>> ''{}''', c), ', ') FROM unnest(reference.key_columns) c)), '''{}''::jsonb'),
            relation, public.threadline_same_key_v1(audited.key_columns), reference.child,
            (SELECT string_agg(format('r.%I = t.%I', c, p), ' AND ') FROM unnest(reference.child_columns, reference.parent_columns) u(c, p)))
            USING keys, reference.name, reference.child_columns, reference.child::text, reference.table_id;
    END LOOP;
END $$;

-- What undoing the net changes of one table takes, as a list of JSON objects: each with what stands in its way now, where something does. See
-- threadline_revert. Values that nobody asks for are left out: of an update, those of columns that didn't change, and of an
-- insert all, unless a foreign key has them.
CREATE OR REPLACE FUNCTION public.threadline_undone_v1(audited public.audit_tables, keys jsonb[], last_ids bigint[], remade boolean[], changed jsonb[],
    before jsonb[], after jsonb[], locked boolean, judged boolean) RETURNS text
LANGUAGE plpgsql
SET enable_mergejoin = off
AS $$
DECLARE
    relation CONSTANT pg_catalog.regclass := to_regclass(format('%I.%I', audited.table_schema, audited.table_name));
    documents CONSTANT pg_catalog.text[] := ARRAY(
        SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.atttypid = 'json'::regtype AND NOT a.attisdropped);
    linked CONSTANT pg_catalog.text[] := ARRAY(
        SELECT DISTINCT c FROM public.threadline_foreign_keys_v1() f, unnest(CASE WHEN f.child = relation THEN f.child_columns ELSE '{}' END
            || CASE WHEN f.parent = relation THEN f.parent_columns ELSE '{}' END) c WHERE f.child = relation OR f.parent = relation);
    guarded CONSTANT pg_catalog.text[] := linked || ARRAY(
        SELECT DISTINCT c FROM public.threadline_unique_keys_v1(relation) i, unnest(i.columns) c);
    live pg_catalog.jsonb[];
    target pg_catalog.jsonb[];
    leaving pg_catalog.jsonb[];
BEGIN
    IF relation IS NOT NULL THEN
        live := public.threadline_live(audited, keys, locked);
        IF documents <> '{}' THEN
            before := ARRAY(SELECT public.threadline_restorable(documents, u.b) FROM (SELECT unnest(before) AS b) u);
        END IF;
        -- The rows as they would be, where that is looked at.
        target := ARRAY(
            SELECT CASE
                WHEN u.b IS NULL THEN NULL
                WHEN u.l IS NULL THEN u.b
                WHEN u.r THEN u.l || u.b
                WHEN judged OR u.c ?| guarded THEN u.l || (
                    SELECT coalesce(jsonb_object_agg(n, u.b -> n), '{}') FROM jsonb_array_elements_text(u.c) n WHERE u.b ? n) END
            FROM (SELECT unnest(remade) AS r, unnest(changed) AS c, unnest(before) AS b, unnest(live) AS l) u);
        leaving := ARRAY(
            SELECT CASE WHEN u.l IS NOT NULL AND u.b IS NULL THEN u.key END
            FROM (SELECT unnest(keys) AS key, unnest(before) AS b, unnest(live) AS l) u);
    END IF;
    -- As text: json_build_object() looks up the types of its arguments for every row.
    RETURN (
        WITH found AS (
            SELECT f.place, string_agg(concat(',"', f.what, '":', f.found), '' ORDER BY f.what) AS found
            FROM (
                SELECT s.place, 'since' AS what, to_jsonb(s.columns) AS found FROM public.threadline_since(audited, keys, last_ids, after, live) s
                UNION ALL
                SELECT t.place, 'taken', jsonb_agg(t.taken) FROM public.threadline_taken_v1(audited, keys, live, target) t WHERE relation IS NOT NULL GROUP BY 1
                UNION ALL
                SELECT o.place, 'orphaned', jsonb_agg(o.orphaned) FROM public.threadline_orphaned_v1(audited, live, target) o WHERE relation IS NOT NULL GROUP BY 1
                UNION ALL
                SELECT r.place, 'referring', jsonb_agg(r.referring) FROM public.threadline_referring_v1(audited, leaving) r WHERE relation IS NOT NULL GROUP BY 1) f
            GROUP BY 1),
        unasked AS MATERIALIZED (
            SELECT c.changed, ARRAY(
                SELECT a.attname::text FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = relation AND a.attnum > 0 AND a.attname <> ALL (linked) AND NOT c.changed ? a.attname) AS names
            FROM (SELECT DISTINCT unnest(changed) AS changed) c)
        SELECT string_agg(concat('{"table_id":', audited.id, ',"key":', u.key, ',"last_id":', u.last_id, ',"remade":', to_jsonb(u.remade), ',"changed":', u.changed,
            ',"before":', coalesce(CASE WHEN u.remade THEN u.before ELSE u.before - x.names END, 'null'),
            ',"after":', coalesce(CASE WHEN u.remade AND u.before IS NOT NULL THEN u.after ELSE u.after - x.names END, 'null'),
            ',"live":', to_jsonb(u.live IS NOT NULL), f.found,
            CASE WHEN judged THEN concat(',"judged":', to_jsonb(array_remove(ARRAY[u.live, u.target], NULL))) END, '}'), ',' ORDER BY u.place)
        FROM (
            SELECT unnest(keys) AS key, unnest(last_ids) AS last_id, unnest(remade) AS remade, unnest(changed) AS changed, unnest(before) AS before,
                unnest(after) AS after, unnest(live) AS live, unnest(target) AS target, generate_series(1, cardinality(keys)) AS place) u
        JOIN unasked x ON x.changed = u.changed
        LEFT JOIN found f ON f.place = u.place);
END $$;

-- What undoing a transaction, or one change, takes: the tables, the foreign keys between them, and for each row its values
-- before and after, and what stands in the way now. With `locked`, the live rows are locked first. With `shown`, it is about
-- rows that have no other lines, and each row says what a scope has to judge besides these: what it is, and what it would be.
-- The rows of a table are looked at together, by a few queries whose number doesn't depend on them.
CREATE OR REPLACE FUNCTION public.threadline_revert(tx uuid, single bigint, locked boolean, shown bigint[]) RETURNS json
LANGUAGE plpgsql
SET jit = off
AS $$
DECLARE
    net pg_catalog.record;
    audited public.audit_tables;
    undone pg_catalog.text[] := '{}';
    involved integer[] := '{}';
BEGIN
    FOR net IN
        SELECT n.table_id, array_agg(n.key) AS keys, array_agg(n.last_id) AS last_ids, array_agg(n.remade) AS remade, array_agg(to_jsonb(n.changed)) AS changed,
            array_agg(n.before) AS before, array_agg(n.after) AS after
        FROM (SELECT u.* FROM public.threadline_net(tx, single, shown) u ORDER BY u.table_id, u.key) n GROUP BY 1 ORDER BY 1
    LOOP
        audited := public.threadline_entry_of_v1(net.table_id);
        involved := involved || net.table_id;
        undone := undone || public.threadline_undone_v1(audited, net.keys, net.last_ids, net.remade, net.changed, net.before, net.after, locked, shown IS NOT NULL);
    END LOOP;
    RETURN json_build_object(
        'transaction_id', tx, 'change_id', single, 'rows', concat('[', array_to_string(undone, ','), ']')::json,
        -- Where there were rows that the log doesn't know.
        'truncated', (SELECT coalesce(json_agg(DISTINCT format('%s.%s', t.table_schema, t.table_name)), '[]')
                      FROM public.audit_changes c JOIN public.audit_tables t ON t.id = c.table_id
                      WHERE (c.transaction_id = tx OR c.id = single) AND c.op = 'truncate' AND (coalesce(t.horizon > c.captured_at, true)
                            OR EXISTS (SELECT FROM unnest(t.gaps) g WHERE g && tstzrange(t.horizon, c.captured_at, '[]')))
                        AND (shown IS NULL OR c.id = ANY (shown))),
        'tables', (
            SELECT coalesce(json_agg(json_build_object('id', t.id, 'schema', t.table_schema, 'name', t.table_name, 'key', t.key_columns,
                'captured', t.installed_at IS NOT NULL, 'redacted', t.redacted, 'except', coalesce(t.rules -> 'except_columns', '[]'), 'columns', (
                    SELECT json_agg(json_build_object('name', a.attname, 'not_null', a.attnotnull, 'has_default', a.atthasdef OR a.attidentity <> '',
                        'generated', a.attgenerated <> '', 'always', a.attidentity = 'a') ORDER BY a.attnum)
                    FROM pg_catalog.pg_attribute a
                    WHERE a.attrelid = to_regclass(format('%I.%I', t.table_schema, t.table_name)) AND a.attnum > 0 AND NOT a.attisdropped))), '[]')
            FROM public.audit_tables t WHERE t.id = ANY (involved)),
        'foreign_keys', (
            SELECT coalesce(json_agg(json_build_object('name', f.name, 'schema', cn.nspname, 'child', child.id, 'child_columns', f.child_columns, 'parent', parent.id,
                'parent_columns', f.parent_columns, 'deferrable', f.is_deferrable)), '[]')
            FROM public.threadline_foreign_keys_v1() f
            JOIN pg_catalog.pg_class c ON c.oid = f.child JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
            JOIN pg_catalog.pg_class p ON p.oid = f.parent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
            JOIN public.audit_tables child ON child.table_schema = cn.nspname AND child.table_name = c.relname
            JOIN public.audit_tables parent ON parent.table_schema = pn.nspname AND parent.table_name = p.relname
            WHERE child.id = ANY (involved) AND parent.id = ANY (involved)));
END $$;

-- Runs statements one after the other, in one round trip. Says how many rows each wrote.
CREATE OR REPLACE FUNCTION public.threadline_run_v1(statements text[]) RETURNS bigint[]
LANGUAGE plpgsql
AS $$
DECLARE
    statement pg_catalog.text;
    written bigint;
    counts bigint[] := '{}';
BEGIN
    FOREACH statement IN ARRAY statements LOOP
        EXECUTE statement;
        GET DIAGNOSTICS written = ROW_COUNT;
        counts := counts || written;
    END LOOP;
    RETURN counts;
END $$;

-- What a scope has to judge besides the lines that are reverted, for each row of a revert by its place: what the log last
-- knew of it, what it is, and what it would be. As changes by which it came to be so.
CREATE OR REPLACE FUNCTION public.threadline_revert_judged_v1(revert json) RETURNS TABLE (place bigint, change public.audit_changes)
LANGUAGE sql STABLE
AS $$
    SELECT r.place, jsonb_populate_record(n.line, jsonb_build_object('op', 'insert', 'changed_fields', NULL, 'changed_from', NULL, 'data_after', i.image))
    FROM (
        SELECT (u.undo ->> 'table_id')::integer AS table_id, (u.undo -> 'key')::jsonb AS key, (u.undo -> 'judged')::jsonb AS judged, u.place
        FROM json_array_elements(revert -> 'rows') WITH ORDINALITY u(undo, place) OFFSET 0) r
    JOIN public.audit_tables t ON t.id = r.table_id
    CROSS JOIN LATERAL (
        SELECT l.line FROM unnest(CASE t.former_columns WHEN '{}' THEN ARRAY[r.key] ELSE public.threadline_keys(r.table_id, r.key) END) k
        CROSS JOIN LATERAL (
            SELECT c.id, c AS line FROM public.audit_changes c
            WHERE c.table_id = r.table_id AND c.key_hash = hashtextextended(k::text, 0) AND c.table_pk = k
            ORDER BY c.id DESC LIMIT 1) l
        ORDER BY l.id DESC LIMIT 1) n
    CROSS JOIN LATERAL (
        SELECT public.threadline_state(n.line) AS image
        UNION ALL SELECT j FROM jsonb_array_elements(r.judged) j) i
$$;

-- A revert of the rows at these places alone. Keys of other rows are left out: who holds a unique key, and who refers.
CREATE OR REPLACE FUNCTION public.threadline_revert_within_v1(revert json, places bigint[]) RETURNS json
LANGUAGE sql STABLE
AS $$
    WITH kept AS MATERIALIZED (
        SELECT r.place, r.undo::jsonb - 'judged' AS undo, (r.undo ->> 'table_id')::integer AS table_id, (r.undo -> 'key')::jsonb AS key
        FROM json_array_elements(revert -> 'rows') WITH ORDINALITY r(undo, place) JOIN unnest(places) p(place) ON p.place = r.place)
    SELECT json_build_object(
        'transaction_id', revert -> 'transaction_id', 'change_id', revert -> 'change_id', 'scoped', true,
        'rows', (
            SELECT coalesce(json_agg(k.undo || jsonb_build_object(
                'taken', (
                    SELECT coalesce(jsonb_agg(t || jsonb_build_object('holder',
                        CASE WHEN (k.table_id, t -> 'holder') IN (SELECT o.table_id, o.key FROM kept o) THEN t -> 'holder' ELSE '{}' END)), '[]')
                    FROM jsonb_array_elements(k.undo -> 'taken') t),
                'referring', (
                    SELECT coalesce(jsonb_agg(f || jsonb_build_object('keys', (
                        SELECT jsonb_agg(CASE WHEN ((f ->> 'table_id')::integer, e) IN (SELECT o.table_id, o.key FROM kept o) THEN e ELSE '{}' END)
                        FROM jsonb_array_elements(f -> 'keys') e))), '[]')
                    FROM jsonb_array_elements(k.undo -> 'referring') f)) ORDER BY k.place), '[]')
            FROM kept k),
        'truncated', revert -> 'truncated',
        'tables', (
            SELECT coalesce(json_agg(t), '[]') FROM json_array_elements(revert -> 'tables') t
            WHERE (t ->> 'id')::integer IN (SELECT k.table_id FROM kept k)),
        'foreign_keys', (
            SELECT coalesce(json_agg(f), '[]') FROM json_array_elements(revert -> 'foreign_keys') f
            WHERE (f ->> 'child')::integer IN (SELECT k.table_id FROM kept k) AND (f ->> 'parent')::integer IN (SELECT k.table_id FROM kept k)))
$$;
