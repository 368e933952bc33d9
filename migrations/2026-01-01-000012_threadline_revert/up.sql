-- What a row was before a change, which values a change brought, and what undoing changes takes. They run with the rights
-- of the caller.

-- The row before an update or a delete, as earlier changes left it; NULL where the log doesn't reach back to it, or was
-- interrupted since.
CREATE OR REPLACE FUNCTION public.threadline_earlier(change public.audit_changes) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT public.threadline_whole(p)
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

-- A recorded row, or a part of one, as a record of its table. What is missing is NULL.
CREATE OR REPLACE FUNCTION public.threadline_record_of(base anyelement, data jsonb) RETURNS anyelement
LANGUAGE plpgsql STABLE
SET array_nulls = 'on' SET xmloption = 'content' SET lc_monetary = 'C'
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
AS $$
BEGIN
    RETURN jsonb_populate_record(base, data);
END $$;

-- Recorded values under the names that their columns have now. Of several former names the newest counts, as in threadline_decode.
CREATE OR REPLACE FUNCTION public.threadline_named(former_columns jsonb, data jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT (data || coalesce(jsonb_object_agg(f.key, data -> n.value ORDER BY n.place DESC), '{}')) - coalesce(array_agg(n.value), '{}')
    FROM jsonb_each(former_columns) f, jsonb_array_elements_text(f.value) WITH ORDINALITY n(value, place)
    WHERE NOT data ? f.key AND data ? n.value
$$;

-- The condition that a row `t` has the key of a row `k`.
CREATE OR REPLACE FUNCTION public.threadline_same_key_v1(key_columns text[]) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$ SELECT string_agg(format('t.%1$I = k.%1$I', c), ' AND ') FROM unnest(key_columns) c $$;

-- A live row as capture would record it, less what is redacted; NULL if there is none. A row that row level security hides
-- would seem gone: reading it is an error instead.
CREATE OR REPLACE FUNCTION public.threadline_live(audited public.audit_tables, key jsonb, locked boolean) RETURNS jsonb
LANGUAGE plpgsql
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C' SET row_security = off
AS $$
DECLARE
    relation CONSTANT pg_catalog.regclass := format('%I.%I', audited.table_schema, audited.table_name);
    image pg_catalog.jsonb;
BEGIN
    EXECUTE format('SELECT %4$s FROM %1$s t, public.threadline_record_of(NULL::%1$s, $1) k WHERE %2$s %3$s',
        relation, public.threadline_same_key_v1(audited.key_columns), CASE WHEN locked THEN 'FOR UPDATE OF t' END,
        public.threadline_image_sql_v1(relation::oid, coalesce(audited.rules, '{"max_value_bytes": 1000000}'), 't', '{}'))
        INTO image USING key;
    RETURN image - ARRAY(SELECT jsonb_object_keys(audited.redacted));
END $$;

-- The keys of a table's rows before a line of the log, as far as the log knows them. It reads all of the table's changes.
CREATE OR REPLACE FUNCTION public.threadline_alive(relation_id integer, before bigint) RETURNS SETOF jsonb
LANGUAGE sql STABLE
AS $$
    SELECT l.key FROM (
        SELECT DISTINCT ON (n.key) n.key, c.op
        FROM public.audit_tables t JOIN public.audit_changes c ON c.table_id = t.id
        CROSS JOIN LATERAL (SELECT public.threadline_named(t.former_columns, c.table_pk) AS key) n
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
CREATE OR REPLACE FUNCTION public.threadline_net(tx uuid, single bigint, shown bigint[])
RETURNS TABLE (audited public.audit_tables, key jsonb, first_id bigint, last_id bigint, remade boolean, changed text[], before jsonb, after jsonb)
LANGUAGE sql STABLE
AS $$
    SELECT t, n.key, n.first_id, n.last_id, n.remade,
        ARRAY(SELECT DISTINCT coalesce(now.key, f) FROM public.audit_changes c, unnest(c.changed_fields) f
              LEFT JOIN jsonb_each(t.former_columns) now ON now.value ? f AND NOT t.former_columns ? f
              WHERE c.id = ANY (n.ids) ORDER BY 1),
        CASE WHEN coalesce(e.existed, n.existed) THEN public.threadline_named(t.former_columns,
            CASE WHEN cardinality(n.ids) = 1 THEN coalesce(e.image, '{}') || coalesce(b.changed_from, '{}')
                ELSE coalesce(e.image, '{}') || (coalesce(b.changed_from, '{}') - ARRAY(SELECT jsonb_object_keys(e.image - public.threadline_list_v1(t.rules, 'ignore_only')))) END) END,
        CASE WHEN a.op IN ('insert', 'update') THEN public.threadline_named(t.former_columns, public.threadline_whole(a)) END
    FROM (
        SELECT l.table_id, public.threadline_named(r.former_columns, l.pk) AS key, min(l.id) AS first_id, max(l.id) AS last_id,
            bool_or(l.op <> 'update') AS remade, array_agg(l.id) AS ids,
            coalesce(min(l.id) FILTER (WHERE l.op = 'insert') > min(l.id) FILTER (WHERE l.op IN ('delete', 'truncate')), NOT bool_or(l.op = 'insert')) AS existed
        FROM (
            SELECT c.table_id, c.table_pk AS pk, c.id, c.op FROM public.audit_changes c
            WHERE (c.transaction_id = tx OR c.id = single) AND c.op IN ('insert', 'update', 'delete')
            UNION ALL
            SELECT c.table_id, a.pk, c.id, c.op FROM public.audit_changes c, public.threadline_alive(c.table_id, c.id) a(pk)
            WHERE (c.transaction_id = tx OR c.id = single) AND c.op = 'truncate') l
        JOIN public.audit_tables r ON r.id = l.table_id
        LEFT JOIN unnest(shown) s(id) ON s.id = l.id
        GROUP BY 1, 2
        HAVING shown IS NULL OR count(s.id) = count(*)) n
    JOIN public.audit_tables t ON t.id = n.table_id
    JOIN public.audit_changes b ON b.id = n.first_id
    JOIN public.audit_changes a ON a.id = n.last_id
    LEFT JOIN LATERAL (
        SELECT p.op IN ('insert', 'update', 'baseline') AS existed,
            CASE WHEN p.op IN ('insert', 'update', 'baseline') THEN public.threadline_whole(p) END AS image
        FROM public.threadline_previous(t.id, public.threadline_keys(t.id, n.key), n.first_id) p
        WHERE NOT EXISTS (SELECT FROM unnest(t.gaps) g WHERE g && tstzrange(p.captured_at, b.captured_at, '[]'))) e ON true
    ORDER BY n.table_id, n.key
$$;

-- The columns in which a live row differs from what it was left as. What can't be compared, because it is redacted or was
-- not stored, has changed if a later change says so.
CREATE OR REPLACE FUNCTION public.threadline_since(
    audited public.audit_tables, key jsonb, last_id bigint, recorded jsonb, live jsonb
) RETURNS text[]
LANGUAGE sql STABLE
AS $$
    WITH compared AS (
        SELECT l.key AS name, l.value::text <> (recorded -> l.key)::text AS differs
        FROM jsonb_each(live) l
        WHERE recorded ? l.key AND recorded -> l.key <> '{"$threadline": "omitted"}' AND NOT audited.redacted ? l.key
          AND NOT coalesce(audited.rules -> 'except_columns', '[]') ? l.key AND NOT coalesce(audited.rules -> 'ignore_only', '[]') ? l.key)
    SELECT ARRAY(
        SELECT name FROM compared WHERE differs
        UNION
        SELECT f FROM unnest(public.threadline_keys(audited.id, key)) k
        JOIN public.audit_changes c ON c.table_id = audited.id AND c.key_hash = hashtextextended(k::text, 0) AND c.table_pk = k AND c.id > last_id
        CROSS JOIN unnest(c.changed_fields) f
        WHERE f NOT IN (SELECT name FROM compared)
        ORDER BY 1)
$$;

-- Who stands in the way of a row that is to be written as `target`: unique keys that another row holds, and foreign keys
-- without the row that they name. Of an update, only those that have one of the columns `changed`.
CREATE OR REPLACE FUNCTION public.threadline_obstacles(
    audited public.audit_tables, key jsonb, target jsonb, changed text[], OUT taken jsonb, OUT orphaned jsonb
)
LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C' SET row_security = off
AS $$
DECLARE
    relation CONSTANT pg_catalog.regclass := format('%I.%I', audited.table_schema, audited.table_name);
    holder_key CONSTANT pg_catalog.text := (SELECT string_agg(format('%1$L, to_jsonb(t.%1$I) #>> ''{}''', k), ', ') FROM unnest(audited.key_columns) k);
    candidate pg_catalog.record;
    holder pg_catalog.jsonb;
    missing boolean;
BEGIN
    taken := '[]';
    orphaned := '[]';
    FOR candidate IN
        SELECT i.indexrelid::regclass::text AS name, array_agg(a.attname::text ORDER BY k.position) AS columns
        FROM pg_catalog.pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, position)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
          AND k.position <= i.indnkeyatts
        GROUP BY i.indexrelid
    LOOP
        CONTINUE WHEN NOT target ?& candidate.columns OR NOT candidate.columns && changed;
        EXECUTE format('SELECT jsonb_build_object(%s) FROM %s t, public.threadline_record_of(NULL::%2$s, $1) w, public.threadline_record_of(NULL::%2$s, $2) k
                        WHERE %s AND NOT (%s) LIMIT 1', holder_key, relation,
            (SELECT string_agg(format('t.%1$I = w.%1$I', c), ' AND ') FROM unnest(candidate.columns) c),
            public.threadline_same_key_v1(audited.key_columns)) INTO holder USING target, key;
        IF holder IS NOT NULL THEN
            taken := taken || jsonb_build_object('constraint', candidate.name, 'columns', candidate.columns, 'holder', holder);
        END IF;
    END LOOP;
    FOR candidate IN
        SELECT f.* FROM public.threadline_foreign_keys_v1() f WHERE f.child = relation
    LOOP
        CONTINUE WHEN NOT target ?& candidate.child_columns OR NOT candidate.child_columns && changed;
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s p WHERE %s) FROM public.threadline_record_of(NULL::%s, $1) w WHERE %s', candidate.parent,
            (SELECT string_agg(format('p.%I = w.%I', p, c), ' AND ') FROM unnest(candidate.parent_columns, candidate.child_columns) u(p, c)),
            relation, (SELECT string_agg(format('w.%I IS NOT NULL', c), ' AND ') FROM unnest(candidate.child_columns) c))
            INTO missing USING target;
        IF missing THEN
            orphaned := orphaned || jsonb_build_object('constraint', candidate.name, 'columns', candidate.child_columns, 'parent', candidate.parent::text);
        END IF;
    END LOOP;
END $$;

-- Values before that can be put back. A json value that jsonb can't hold was kept as its text, and would come back as a JSON
-- string: it counts as omitted.
CREATE OR REPLACE FUNCTION public.threadline_restorable(relation regclass, before jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    restorable pg_catalog.jsonb := before;
    name pg_catalog.text;
    is_jsonb boolean;
BEGIN
    FOR name IN
        SELECT a.attname FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = relation AND a.atttypid = 'json'::regtype AND jsonb_typeof(before -> a.attname) = 'string'
    LOOP
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

-- The live rows that refer to a row.
CREATE OR REPLACE FUNCTION public.threadline_referring(audited public.audit_tables, key jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C' SET row_security = off
AS $$
DECLARE
    relation CONSTANT pg_catalog.regclass := format('%I.%I', audited.table_schema, audited.table_name);
    reference pg_catalog.record;
    keys pg_catalog.jsonb;
    found pg_catalog.jsonb := '[]';
BEGIN
    FOR reference IN
        SELECT f.*, t.id AS table_id, t.key_columns FROM public.threadline_foreign_keys_v1() f
        JOIN pg_catalog.pg_class c ON c.oid = f.child JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN public.audit_tables t ON t.table_schema = n.nspname AND t.table_name = c.relname
        WHERE f.parent = relation
    LOOP
        EXECUTE format('SELECT jsonb_agg(%s) FROM %s r, %s t, public.threadline_record_of(NULL::%3$s, $1) k WHERE %s AND %s',
            coalesce(format('jsonb_build_object(%s)', (SELECT string_agg(format('%1$L, to_jsonb(r.%1$I) #>> ''{}''', c), ', ') FROM unnest(reference.key_columns) c)), '''{}''::jsonb'),
            reference.child, relation,
            (SELECT string_agg(format('r.%I = t.%I', c, p), ' AND ') FROM unnest(reference.child_columns, reference.parent_columns) u(c, p)),
            public.threadline_same_key_v1(audited.key_columns)) INTO keys USING key;
        IF keys IS NOT NULL THEN
            found := found || jsonb_build_object('constraint', reference.name, 'columns', reference.child_columns,
                'child', reference.child::text, 'table_id', reference.table_id, 'keys', keys);
        END IF;
    END LOOP;
    RETURN found;
END $$;

-- What undoing a transaction, or one change, takes: the tables, the foreign keys between them, and for each row its values
-- before and after, and what stands in the way now. With `locked`, the live rows are locked first. With `shown`, it is about
-- rows that have no other lines, and each row says what a scope has to judge besides these: what it is, and what it would be.
CREATE OR REPLACE FUNCTION public.threadline_revert(tx uuid, single bigint, locked boolean, shown bigint[]) RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    net pg_catalog.record;
    relation pg_catalog.regclass;
    live pg_catalog.jsonb;
    since pg_catalog.text[];
    target pg_catalog.jsonb;
    changed pg_catalog.text[];
    taken pg_catalog.jsonb;
    orphaned pg_catalog.jsonb;
    referring pg_catalog.jsonb;
    undone pg_catalog.json[] := '{}';
    involved integer[] := '{}';
BEGIN
    FOR net IN SELECT * FROM public.threadline_net(tx, single, shown) LOOP
        relation := to_regclass(format('%I.%I', (net.audited).table_schema, (net.audited).table_name));
        live := NULL;
        since := '{}';
        target := NULL;
        taken := '[]';
        orphaned := '[]';
        referring := '[]';
        IF relation IS NOT NULL THEN
            live := public.threadline_live(net.audited, net.key, locked);
            net.before := public.threadline_restorable(relation, net.before);
            changed := net.changed;
            IF net.after IS NOT NULL AND live IS NOT NULL THEN
                since := public.threadline_since(net.audited, net.key, net.last_id, net.after, live);
            END IF;
            IF net.before IS NULL THEN
                IF live IS NOT NULL THEN
                    referring := public.threadline_referring(net.audited, net.key);
                END IF;
            ELSIF live IS NULL THEN
                target := net.before;
                changed := ARRAY(SELECT jsonb_object_keys(target));
            ELSE
                target := live || CASE WHEN net.remade THEN net.before ELSE
                    (SELECT coalesce(jsonb_object_agg(c, net.before -> c), '{}') FROM unnest(net.changed) c WHERE net.before ? c) END;
                changed := ARRAY(SELECT k FROM jsonb_object_keys(target) k WHERE target -> k IS DISTINCT FROM live -> k);
            END IF;
            IF target IS NOT NULL THEN
                SELECT o.taken, o.orphaned INTO taken, orphaned FROM public.threadline_obstacles(net.audited, net.key, target, changed) o;
            END IF;
        END IF;
        involved := involved || (net.audited).id;
        undone := undone || json_build_object('table_id', (net.audited).id, 'key', net.key, 'first_id', net.first_id, 'last_id', net.last_id,
            'remade', net.remade, 'changed', net.changed, 'before', net.before, 'after', net.after, 'live', live IS NOT NULL, 'since', since,
            'taken', taken, 'orphaned', orphaned, 'referring', referring,
            'judged', CASE WHEN shown IS NOT NULL THEN array_remove(ARRAY[live, target], NULL) END);
    END LOOP;
    RETURN json_build_object(
        'transaction_id', tx, 'change_id', single, 'rows', array_to_json(undone),
        -- Where there were rows that the log doesn't know.
        'truncated', (SELECT coalesce(json_agg(DISTINCT format('%s.%s', t.table_schema, t.table_name)), '[]')
                      FROM public.audit_changes c JOIN public.audit_tables t ON t.id = c.table_id
                      WHERE (c.transaction_id = tx OR c.id = single) AND c.op = 'truncate' AND coalesce(t.horizon > c.captured_at, true)
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

-- What a scope has to judge besides the lines that are reverted, for each row of a revert by its place: what the log last
-- knew of it, what it is, and what it would be. As changes by which it came to be so.
CREATE OR REPLACE FUNCTION public.threadline_revert_judged_v1(revert json) RETURNS TABLE (place bigint, change public.audit_changes)
LANGUAGE sql STABLE
AS $$
    SELECT r.place, jsonb_populate_record(n.line, jsonb_build_object('op', 'insert', 'changed_fields', NULL, 'changed_from', NULL, 'data_after', i.image))
    FROM json_array_elements(revert -> 'rows') WITH ORDINALITY r(undo, place)
    CROSS JOIN LATERAL (
        SELECT l.line FROM unnest(public.threadline_keys((r.undo ->> 'table_id')::integer, (r.undo -> 'key')::jsonb)) k
        CROSS JOIN LATERAL (
            SELECT c.id, c AS line FROM public.audit_changes c
            WHERE c.table_id = (r.undo ->> 'table_id')::integer AND c.key_hash = hashtextextended(k::text, 0) AND c.table_pk = k
            ORDER BY c.id DESC LIMIT 1) l
        ORDER BY l.id DESC LIMIT 1) n
    CROSS JOIN LATERAL (
        SELECT public.threadline_state(n.line) AS image
        UNION ALL SELECT j::jsonb FROM json_array_elements(r.undo -> 'judged') j) i
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

-- Everything is there: its owner, its rights and its guards, as they are documented.
SELECT public.threadline_protect_v1();
