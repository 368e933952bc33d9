-- What a table is besides its name, and what DDL did to it since it was captured: reads fold it into what the registry says, and
-- the next capture notes it. What can't be told apart counts as the worse of both.

-- A table as the catalog has it:
--   cluster, log  where this was looked up: in a restored copy, the numbers are others
--   relation      its oid
--   inherited     whether rows of other tables show in it
--   keys          the columns of each unique index that can be a key, sorted
--   tree          the oids of the table and its partitions -> the file, the persistence, and whether it may have come with
--                 rows: a partition that is attached has every column written again, one that is created as such has not
--   triggers      what records its rows -> by which transaction it was written
--   guard         the DDL guard that is there; absent if it is not, or disabled
--   width         the highest number that a column ever had
--   columns       name -> number, type, its modifier, by which transaction it was written, whether rows from before it have a
--                 value, in a partition at least, its default
-- The registry has it with four more:
--   at            when it was looked up
--   freed         names that columns no longer have
--   column_gaps   column -> intervals in which DDL may have changed its values without a change being recorded; without a
--                 beginning where what was recorded under its name until then is another column's
--   unsure        intervals after which there were columns `added`, in this order, or `renamed`, which may have had yet other
--                 names in between: whether they had, tell the names of what was recorded then
CREATE OR REPLACE FUNCTION public.threadline_identity_v1(relation regclass) RETURNS jsonb
LANGUAGE plpgsql STABLE -- whose plans are kept
AS $$
BEGIN
    -- Not pg_partition_tree(), which waits for whoever alters a partition.
    RETURN (WITH RECURSIVE tree(oid) AS (
        SELECT relation::oid
        UNION
        SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid JOIN pg_catalog.pg_class p ON p.oid = tree.oid AND p.relkind = 'p')
    SELECT jsonb_build_object(
        'cluster', (SELECT s.system_identifier::text FROM pg_control_system() s),
        'log', 'public.audit_changes'::regclass::oid::bigint,
        'relation', relation::oid::bigint,
        'inherited', EXISTS (
            SELECT FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid AND c.relkind <> 'p'
            JOIN pg_catalog.pg_inherits i ON i.inhparent = c.oid),
        'keys', (
            SELECT coalesce(jsonb_agg(k.columns), '[]') FROM pg_catalog.pg_index i
            CROSS JOIN LATERAL (
                SELECT jsonb_agg(a.attname::text ORDER BY a.attname::text COLLATE "C") AS columns
                FROM unnest(i.indkey::int2[]) WITH ORDINALITY n(attnum, position)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = n.attnum
                WHERE n.position <= i.indnkeyatts) k
            WHERE i.indrelid = relation AND (i.indisprimary OR i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL)),
        'tree', (
            SELECT jsonb_object_agg(c.oid, jsonb_build_array(c.relfilenode::bigint, c.relpersistence, NOT EXISTS (
                SELECT FROM pg_catalog.pg_attribute s JOIN pg_catalog.pg_attribute a ON a.attrelid = s.attrelid AND a.attnum > 0
                WHERE s.attrelid = c.oid AND s.attname = 'tableoid' AND a.xmin = s.xmin AND a.cmin = s.cmin)))
            FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid),
        'triggers', (
            SELECT coalesce(jsonb_object_agg(concat(t.tgrelid, t.tgname), t.xmin::text::bigint), '{}')
            FROM tree JOIN pg_catalog.pg_trigger t ON t.tgrelid = tree.oid JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
            WHERE t.tgname ~ '^[!~]threadline' AND t.tgenabled IN ('O', 'A') AND p.proname ~ '^threadline_capture_' AND p.pronamespace = 'public'::regnamespace),
        'guard', (
            SELECT jsonb_agg(concat_ws(' ', e.oid, e.xmin) ORDER BY e.oid) FROM pg_catalog.pg_event_trigger e
            WHERE e.evtname ~ '^threadline_ddl' AND e.evtenabled = 'A' HAVING count(*) = 2),
        'width', (SELECT max(a.attnum) FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation),
        'columns', (
            SELECT coalesce(jsonb_object_agg(a.attname, jsonb_build_array(a.attnum, a.atttypid::bigint, a.atttypmod, a.xmin::text::bigint, EXISTS (
                SELECT FROM tree JOIN pg_catalog.pg_attribute l ON l.attrelid = tree.oid WHERE l.attname = a.attname AND l.atthasmissing), d.oid::bigint)), '{}')
            FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped)));
END $$;

-- What DDL did between two looks at a table of which `keys` are the key columns:
--   rows      whether rows may have come, left or changed without being recorded
--   columns   those whose values may be others than the recorded ones
--   misnamed  those whose names were other columns', so that what is recorded under them is not theirs
--   added     those that came
--   renamed   column -> its name before
-- Nothing is known of what was looked up elsewhere: then the table is taken by its name.
CREATE OR REPLACE FUNCTION public.threadline_drift_v1(
    was jsonb, present jsonb, keys text[], OUT rows boolean, OUT columns text[], OUT misnamed text[], OUT added text[], OUT renamed jsonb
)
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    -- VACUUM FULL writes a new file, too, but no column: except that it forgets what rows from before one have.
    rewritten CONSTANT boolean := EXISTS (
        SELECT FROM jsonb_each(was -> 'tree') w WHERE w.value -> 0 <> present -> 'tree' -> w.key -> 0);
    named pg_catalog.text[];
BEGIN
    rows := false;
    columns := '{}';
    misnamed := '{}';
    added := '{}';
    renamed := '{}';
    IF (was -> 'cluster') IS DISTINCT FROM (present -> 'cluster') OR (was -> 'log') IS DISTINCT FROM (present -> 'log') THEN
        RETURN;
    END IF;
    IF was -> 'relation' <> present -> 'relation' THEN
        rows := true;
        RETURN;
    END IF;
    SELECT coalesce(array_agg(n.key ORDER BY n.key) FILTER (WHERE w.key IS DISTINCT FROM n.key AND (was -> 'columns' ? n.key OR was -> 'freed' ? n.key)), '{}'),
        -- A new one may have been computed for each row, or written again since.
        coalesce(array_agg(n.key ORDER BY n.key) FILTER (WHERE rewritten AND CASE WHEN w.key IS NULL THEN NOT (n.value -> 4)::boolean ELSE w.value -> 3 <> n.value -> 3 AND NOT (
                (w.value -> 4)::boolean AND NOT (n.value -> 4)::boolean AND w.value -> 1 = n.value -> 1 AND w.value -> 2 = n.value -> 2
                AND w.value -> 5 = n.value -> 5 AND n.value -> 5 <> 'null') END), '{}'),
        coalesce(array_agg(n.key ORDER BY (n.value -> 0)::integer) FILTER (WHERE w.key IS NULL), '{}'),
        coalesce(jsonb_object_agg(n.key, w.key) FILTER (WHERE w.key <> n.key), '{}')
        INTO misnamed, columns, added, renamed
    FROM jsonb_each(present -> 'columns') n LEFT JOIN jsonb_each(was -> 'columns') w ON w.value -> 0 = n.value -> 0;
    -- A column that came and went may have had any of the new names.
    IF (present -> 'width')::integer - (was -> 'width')::integer > cardinality(added) THEN
        columns := ARRAY(SELECT unnest(columns || added) UNION SELECT jsonb_object_keys(renamed));
    END IF;
    named := ARRAY(SELECT coalesce(r.key, k) FROM unnest(keys) k LEFT JOIN jsonb_each_text(renamed) r ON r.value = k ORDER BY coalesce(r.key, k) COLLATE "C");
    rows := (present -> 'inherited')::boolean
        OR columns && named OR misnamed && named
        OR NOT EXISTS (SELECT FROM jsonb_array_elements(present -> 'keys') u WHERE u = to_jsonb(named))
        OR EXISTS (SELECT FROM jsonb_each(was -> 'triggers') w WHERE w.value IS DISTINCT FROM (present -> 'triggers' -> w.key))
        OR EXISTS (
            SELECT FROM jsonb_each(present -> 'tree') n LEFT JOIN jsonb_each(was -> 'tree') w ON w.key = n.key
            WHERE w.key IS NULL AND (n.value -> 2)::boolean OR w.value ->> 1 <> n.value ->> 1);
END $$;

-- Whether a subscription feeds the log, or a partition of it, so that the publisher's transactions are what it holds.
CREATE OR REPLACE FUNCTION public.threadline_replicated_v1() RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM pg_catalog.pg_subscription_rel s
        WHERE coalesce(pg_partition_root(s.srrelid), s.srrelid)
            IN ('public.audit_transactions'::regclass, 'public.audit_changes'::regclass, 'public.audit_commits'::regclass));
END $$;

-- The registry's entry of a table, and what DDL did since it was noted: as intervals that are open at their end and begin when it
-- was noted, since nobody knows when it was, nor how often, unless the caller does: at `happened_at`. On a logical subscriber the
-- triggers are the publisher's.
CREATE OR REPLACE FUNCTION public.threadline_entry_v1(relation regclass, target integer, happened_at timestamptz DEFAULT NULL) RETURNS public.audit_tables
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    entry public.audit_tables;
    since pg_catalog.text;
    drift pg_catalog.record;
BEGIN
    SELECT t.* INTO entry FROM public.audit_tables t WHERE t.id = target;
    since := coalesce(to_jsonb(happened_at) #>> '{}', entry.identity ->> 'at');
    IF public.threadline_replicated_v1() THEN
        RETURN entry;
    END IF;
    SELECT d.*, i.present INTO drift
    FROM (SELECT public.threadline_identity_v1(relation) AS present OFFSET 0) i, public.threadline_drift_v1(entry.identity, i.present, entry.key_columns) d;
    entry.identity := entry.identity || jsonb_build_object('column_gaps', coalesce(entry.identity -> 'column_gaps', '{}') || (
        SELECT coalesce(jsonb_object_agg(c.name, g.gaps) FILTER (WHERE g.gaps <> '[]'), '{}')
        FROM (SELECT unnest(drift.columns || drift.misnamed) UNION SELECT jsonb_object_keys(drift.renamed)) c(name)
        CROSS JOIN LATERAL (
            SELECT coalesce(entry.identity -> 'column_gaps' -> c.name, '[]') || coalesce(entry.identity -> 'column_gaps' -> (drift.renamed ->> c.name), '[]')
                || CASE WHEN c.name = ANY (drift.columns) THEN jsonb_build_array(format('[%s,)', since)) ELSE '[]' END
                || CASE WHEN c.name = ANY (drift.misnamed) THEN '["(,)"]'::jsonb ELSE '[]' END AS gaps) g));
    IF drift.added <> '{}' OR drift.renamed <> '{}' THEN
        entry.identity := entry.identity || jsonb_build_object('unsure', coalesce(entry.identity -> 'unsure', '[]') || jsonb_build_object(
            'interval', format('[%s,)', since), 'added', drift.added, 'renamed', drift.renamed,
            'names', ARRAY(SELECT jsonb_object_keys(entry.identity -> 'columns') UNION SELECT jsonb_object_keys(drift.present -> 'columns'))));
    END IF;
    entry.former_columns := entry.former_columns - ARRAY(SELECT value FROM jsonb_each_text(drift.renamed)) || (
        SELECT coalesce(jsonb_object_agg(r.key, jsonb_build_array(r.value) || coalesce(entry.former_columns -> r.value, '[]')), '{}')
        FROM jsonb_each_text(drift.renamed) r);
    entry.added_columns := entry.added_columns - drift.added - ARRAY(SELECT jsonb_object_keys(drift.renamed)) || (
        SELECT coalesce(jsonb_object_agg(r.key, entry.added_columns -> r.value) FILTER (WHERE entry.added_columns ? r.value), '{}')
        FROM jsonb_each_text(drift.renamed) r) || (
        SELECT coalesce(jsonb_object_agg(a, '{"$threadline": "omitted"}'::jsonb), '{}') FROM unnest(drift.added) a WHERE a = ANY (drift.columns));
    IF entry.installed_at IS NOT NULL AND (drift.rows OR NOT public.threadline_is_captured_v1(relation)) THEN
        entry.gaps := entry.gaps || tstzrange(coalesce(since::timestamptz, entry.installed_at), NULL, '()');
    END IF;
    RETURN entry;
END $$;

-- An entry of threadline_entry_v1 to be written, now that the table has been looked at again: what is not known ends here.
CREATE OR REPLACE FUNCTION public.threadline_noted_v1(entry public.audit_tables, relation regclass, noted_at timestamptz) RETURNS public.audit_tables
LANGUAGE plpgsql STABLE
SET timezone = 'UTC' SET datestyle = 'ISO'
AS $$
DECLARE
    present CONSTANT pg_catalog.jsonb := public.threadline_identity_v1(relation);
BEGIN
    entry.gaps := ARRAY(SELECT g * tstzrange(NULL, noted_at) FROM unnest(entry.gaps) WITH ORDINALITY u(g, i) ORDER BY u.i);
    entry.identity := present || jsonb_build_object(
        'at', noted_at,
        'freed', (
            SELECT coalesce(jsonb_agg(f), '[]') FROM (
                SELECT jsonb_array_elements_text(entry.identity -> 'freed') UNION SELECT jsonb_object_keys(entry.identity -> 'columns')) u(f)
            WHERE NOT present -> 'columns' ? f),
        'column_gaps', (
            SELECT coalesce(jsonb_object_agg(c.key, (
                SELECT jsonb_agg((r.value::tstzrange * tstzrange(NULL, noted_at, '[]'))::text) FROM jsonb_array_elements_text(c.value) r)), '{}')
            FROM jsonb_each(entry.identity -> 'column_gaps') c),
        'unsure', (
            SELECT coalesce(jsonb_agg(u || jsonb_build_object('interval', ((u ->> 'interval')::tstzrange * tstzrange(NULL, noted_at, '[]'))::text)), '[]')
            FROM jsonb_array_elements(entry.identity -> 'unsure') u));
    RETURN entry;
END $$;

-- Whether recorded values may be others now than those that are recorded.
CREATE OR REPLACE FUNCTION public.threadline_is_altered_v1(identity jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$ SELECT coalesce(identity -> 'column_gaps', '{}') <> '{}' OR coalesce(identity -> 'unsure', '[]') <> '[]' $$;

-- The condition that threadline_known_v1 may find something in a change `c` of the log as of a moment, as SQL; nothing if it can't.
CREATE OR REPLACE FUNCTION public.threadline_altered_sql_v1(identity jsonb, moment timestamptz) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT string_agg(condition, ' OR ') FROM (
        SELECT CASE WHEN bool_or(upper_inf(g.r)) THEN 'true' ELSE format('c.captured_at <= %L', max(upper(g.r))) END AS condition
        FROM jsonb_each(identity -> 'column_gaps') c CROSS JOIN LATERAL (SELECT r::tstzrange AS r FROM jsonb_array_elements_text(c.value) r) g
        WHERE coalesce(lower(g.r) <= moment, true)
        HAVING count(*) > 0
        UNION ALL
        SELECT format('c.captured_at <@ %L::tstzrange AND (c.data_after - %L::text[] <> ''{}''%s%s)', u ->> 'interval', ARRAY(SELECT jsonb_array_elements_text(u -> 'names')),
            (SELECT string_agg(format(' OR (c.data_after ? %L) = (c.data_after ? %L)', r.key, r.value), '') FROM jsonb_each_text(u -> 'renamed') r),
            (SELECT string_agg(format(' OR NOT c.data_after ? %L AND c.data_after ? %L', i.name, u -> 'added' ->> i.place::integer), '')
             FROM jsonb_array_elements_text(u -> 'added') WITH ORDINALITY i(name, place) WHERE i.place < jsonb_array_length(u -> 'added')))
        FROM jsonb_array_elements(identity -> 'unsure') u) conditions
$$;

-- The values of a row as they are known at a moment: under the names that its columns have now, and omitted where DDL may have
-- changed them in between. `recorded` is what its change holds, and `image` that with the values that are stored only when they change.
CREATE OR REPLACE FUNCTION public.threadline_known_v1(identity jsonb, former_columns jsonb, recorded jsonb, image jsonb, recorded_at timestamptz, moment timestamptz) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN image IS NULL OR NOT public.threadline_is_altered_v1(identity) THEN image ELSE image || (
        SELECT coalesce(jsonb_object_agg(f.key, image -> n.value ORDER BY n.place DESC), '{}')
        FROM jsonb_each(former_columns) f, jsonb_array_elements_text(f.value) WITH ORDINALITY n(value, place)
        WHERE NOT image ? f.key AND image ? n.value) || (
        SELECT coalesce(jsonb_object_agg(g.key, '{"$threadline": "omitted"}'::jsonb), '{}') FROM jsonb_each(identity -> 'column_gaps') g
        WHERE EXISTS (SELECT FROM jsonb_array_elements_text(g.value) r
                      WHERE r::tstzrange && tstzrange(least(recorded_at, moment), greatest(recorded_at, moment), '[]'))) || (
        SELECT coalesce(jsonb_object_agg(a.name, '{"$threadline": "omitted"}'::jsonb), '{}')
        FROM jsonb_array_elements(identity -> 'unsure') u
        CROSS JOIN LATERAL (SELECT jsonb_array_elements_text(u -> 'added') UNION ALL SELECT jsonb_object_keys(u -> 'renamed')) a(name)
        WHERE recorded_at <@ (u ->> 'interval')::tstzrange AND (
            recorded - ARRAY(SELECT jsonb_array_elements_text(u -> 'names')) <> '{}'
            OR EXISTS (SELECT FROM jsonb_each_text(u -> 'renamed') r WHERE (recorded ? r.key) = (recorded ? r.value))
            OR EXISTS (
                SELECT FROM jsonb_array_elements_text(u -> 'added') WITH ORDINALITY i(name, place), jsonb_array_elements_text(u -> 'added') WITH ORDINALITY j(name, place)
                WHERE i.place < j.place AND NOT recorded ? i.name AND recorded ? j.name))) END
$$;

-- The entry of a table by its number; as the registry has it if the table is gone.
CREATE OR REPLACE FUNCTION public.threadline_entry_of_v1(target integer) RETURNS public.audit_tables
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    entry public.audit_tables;
    relation pg_catalog.regclass;
BEGIN
    SELECT t.* INTO entry FROM public.audit_tables t WHERE t.id = target;
    relation := to_regclass(format('%I.%I', entry.table_schema, entry.table_name));
    RETURN CASE WHEN relation IS NULL THEN entry ELSE public.threadline_entry_v1(relation, target) END;
END $$;

-- The registry's entry of a table as reads go by it; see threadline_entry_v1. Only what concerns the columns that there are: the
-- others are nobody's question, and each costs a look at every row.
CREATE OR REPLACE FUNCTION public.threadline_entry(relation regclass) RETURNS public.audit_tables
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    entry public.audit_tables := public.threadline_entry_v1(relation, public.threadline_table(relation));
BEGIN
    entry.identity := entry.identity || jsonb_build_object('column_gaps', (
        SELECT coalesce(jsonb_object_agg(g.key, g.value), '{}') FROM jsonb_each(entry.identity -> 'column_gaps') g
        JOIN pg_catalog.pg_attribute a ON a.attrelid = relation AND a.attname = g.key AND a.attnum > 0 AND NOT a.attisdropped));
    entry.added_columns := entry.added_columns || public.threadline_added_columns_v1(relation, '{}');
    RETURN entry;
END $$;
