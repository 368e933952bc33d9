-- Tables at a moment, by the time of commit: the rows as the transactions left them that had committed by then, whole
-- transactions, one cut across all tables of a query. Typed queries are made of threadline_moment; an operator asks
--
--   SELECT * FROM threadline_moment(NULL::users, 'users', '2026-03-15 10:30Z');
--   SELECT threadline_settled('2026-03-15 10:30Z');

-- The transactions whose changes don't count at a moment although they were captured by then: they committed later, or are
-- this very one. No other that has not committed is visible. Which index has them depends on how long they were open.
CREATE OR REPLACE FUNCTION public.threadline_late(moment timestamptz) RETURNS uuid[]
LANGUAGE sql STABLE
AS $$
    SELECT ARRAY(
        SELECT s.transaction_id FROM public.audit_commits s
        WHERE s.committed_at > moment AND s.committed_at <= moment + interval '10 seconds' AND s.occurred_at <= moment
        UNION
        SELECT s.transaction_id FROM public.audit_commits s
        WHERE s.committed_at > moment AND s.occurred_at <= moment AND s.committed_at - s.occurred_at > interval '10 seconds'
        UNION
        SELECT public.threadline_transaction_id_v1() WHERE pg_current_xact_id_if_assigned() IS NOT NULL)
$$;

-- The registry's entry of a table that is known as a whole at a moment; an error that names the table if it isn't. Diesel
-- shows messages and no hints.
CREATE OR REPLACE FUNCTION public.threadline_known_at(relation regclass, moment timestamptz) RETURNS public.audit_tables
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    entry pg_catalog.record;
    audited public.audit_tables;
    gap pg_catalog.tstzrange;
BEGIN
    SELECT c.relkind, c.relispartition, pg_partition_root(c.oid) AS root, t.id INTO entry
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN public.audit_tables t ON t.table_schema = n.nspname AND t.table_name = c.relname
    WHERE c.oid = relation;
    IF entry.relkind IN ('v', 'm') THEN
        RAISE EXCEPTION E'threadline: % is a view, and would show what its tables hold today\nQuery the tables that it reads.', relation
            USING ERRCODE = 'wrong_object_type';
    ELSIF entry.relispartition THEN
        RAISE EXCEPTION E'threadline: % is a partition\nQuery %: its history has all rows.', relation, entry.root
            USING ERRCODE = 'wrong_object_type';
    ELSIF entry.id IS NULL THEN
        RAISE EXCEPTION E'threadline: table % is not audited, and would show what it holds today\nLeave it out of the query, or run `threadline generate` with its model in the list, and the new migration.', relation
            USING ERRCODE = 'undefined_object';
    ELSIF moment IS NULL THEN
        RAISE EXCEPTION E'threadline: as of which moment?\nIt is NULL: give a time.' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    audited := public.threadline_entry(relation);
    IF audited.horizon IS NULL THEN
        RAISE EXCEPTION E'threadline: table % is not known as a whole: it had rows before it was captured, or its capture was interrupted\nUntil all of its rows are recorded, ask for single rows: Model::as_of.', relation
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF moment < audited.horizon THEN
        RAISE EXCEPTION E'threadline: table % is known as a whole since %, not at %\nAsk for a later moment, or for single rows: Model::as_of.', relation, audited.horizon, moment
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    SELECT g INTO gap FROM unnest(audited.gaps) g WHERE g && tstzrange(audited.horizon, moment, '[]') LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION E'threadline: table % was not captured during %\nAsk for an earlier moment, or for single rows: Model::as_of.', relation, gap
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN audited;
END $$;

-- A recorded row that is decoded with care: what can't be decoded fails the query, and says which row and why. So does a
-- column that is asked for, can't be NULL, and has no value.
CREATE OR REPLACE FUNCTION public.threadline_row(base anyelement, relation regclass, change_id bigint, recipe jsonb, asked text[], data jsonb) RETURNS anyelement
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    decoded pg_catalog.record;
    lacking pg_catalog.text;
BEGIN
    SELECT d.row_image, d.problem, d.absent, d.omitted INTO decoded FROM public.threadline_decode(base, recipe, data) d;
    IF decoded.problem IS NOT NULL THEN
        RAISE EXCEPTION E'threadline: what change % recorded of table % can''t be read as the table is today: %\nGive the column a type that holds the value, or ask for single rows: Model::as_of tells of the problem and goes on.',
            change_id, relation, decoded.problem
            USING ERRCODE = 'data_exception';
    END IF;
    lacking := (SELECT string_agg(o, ', ') FROM unnest(decoded.omitted) o
                WHERE coalesce(o = ANY (asked), true) AND NOT coalesce(recipe -> 'fill' ? o, false) AND coalesce(data -> o, recipe -> 'added' -> o) = '{"$threadline": "omitted"}');
    IF lacking IS NOT NULL THEN
        RAISE EXCEPTION E'threadline: column % of table % is unknown then, in the row of change %: the table was altered since\nLeave it out of the query, or give its model a fill, #[audited(fill = ...)], and the query the model: .filled_by::<Model>().',
            lacking, relation, change_id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    lacking := (SELECT string_agg(a, ', ') FROM unnest(decoded.absent) a WHERE a = ANY (asked));
    IF lacking IS NOT NULL THEN
        RAISE EXCEPTION E'threadline: column % of table % can''t be NULL, and the log has no value of it in change %\nLeave it out of the query, or give its model a fill, #[audited(fill = ...)], and the query the model: .filled_by::<Model>().',
            lacking, relation, change_id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN decoded.row_image;
END $$;

-- The rows of the lines of the log that the query `ids` names, as SQL. A line goes through threadline_decode itself where a
-- value was omitted, where a column that is asked for may have none, and with `careful`.
CREATE OR REPLACE FUNCTION public.threadline_row_query(relation regclass, audited public.audit_tables, moment timestamptz, fill jsonb, asked text[], careful boolean, ids text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    row_type CONSTANT pg_catalog.text := format('NULL::%I.%I', audited.table_schema, audited.table_name);
    given CONSTANT pg_catalog.jsonb := public.threadline_recipe(relation, fill);
    -- What nobody asks for need not be told from NULL.
    recipe CONSTANT pg_catalog.jsonb := given || jsonb_build_object('added', coalesce(given -> 'added', '{}') - ARRAY(
        SELECT a.key FROM jsonb_each(given -> 'added') a WHERE a.value = '{"$threadline": "omitted"}' AND a.key <> ALL (asked)));
    unasked CONSTANT pg_catalog.text[] := ARRAY(
        SELECT a.name FROM (
            SELECT jsonb_object_keys(audited.identity -> 'column_gaps')
            UNION SELECT n FROM jsonb_array_elements(audited.identity -> 'unsure') u, jsonb_array_elements_text(u -> 'added') n
            UNION SELECT n FROM jsonb_array_elements(audited.identity -> 'unsure') u, jsonb_object_keys(u -> 'renamed') n) a(name)
        WHERE a.name <> ALL (asked));
    -- Of those, what is left out of every line; a former name of a column is not, since that is where its values are.
    dispensable CONSTANT pg_catalog.text[] := ARRAY(
        SELECT u FROM unnest(unasked) u WHERE NOT EXISTS (SELECT FROM jsonb_each(audited.former_columns) f WHERE f.value ? u));
    identity CONSTANT pg_catalog.jsonb := audited.identity || jsonb_build_object('column_gaps', (audited.identity -> 'column_gaps') - dispensable);
    altered CONSTANT pg_catalog.text := public.threadline_altered_sql_v1(identity, moment);
    lines CONSTANT pg_catalog.text := format('SELECT c.id, %s AS data FROM (%s) n JOIN public.audit_changes c ON c.id = n.id WHERE c.op IN (''insert'', ''update'', ''baseline'') OFFSET 0',
        format(CASE WHEN altered IS NULL THEN '%s'
                ELSE 'CASE WHEN %5$s THEN public.threadline_known_v1(%2$L, %3$L, c.data_after, %1$s, c.captured_at, %4$L) - %6$L::text[] ELSE %1$s END' END
                || CASE WHEN dispensable = '{}' THEN '' ELSE ' - %7$L::text[]' END,
            CASE WHEN audited.on_change = '{}' THEN 'c.data_after'
                ELSE format('CASE WHEN c.op <> ''update'' OR c.data_after ?& %L::text[] THEN c.data_after ELSE public.threadline_whole(c) END', audited.on_change) END,
            identity, audited.former_columns, moment, altered, unasked, dispensable),
        ids);
    lacking CONSTANT pg_catalog.text := (
        SELECT string_agg(format(' OR c.image ->> %L IS NULL', r), '')
        FROM jsonb_object_keys(recipe -> 'redacted') r
        WHERE r = ANY (asked) AND recipe -> 'nothing' ? r
          AND NOT coalesce(recipe -> 'placeholder' ? r, false) AND NOT coalesce(recipe -> 'fill' ? r, false));
    unfilled CONSTANT pg_catalog.text := (
        SELECT string_agg(format(' OR NOT c.data ? %L', a.key), '') FROM jsonb_each(recipe -> 'added') a
        WHERE a.value = '{"$threadline": "omitted"}' AND NOT coalesce(recipe -> 'fill' ? a.key, false));
BEGIN
    RETURN format('SELECT (c.r).* FROM (SELECT CASE WHEN %1$s
        THEN public.threadline_row(%2$s, %3$L::regclass, c.id, %4$L, %5$L, c.data) ELSE jsonb_populate_record(%2$s, c.image) END AS r FROM (%6$s) c OFFSET 0) c',
        CASE WHEN careful THEN 'true' ELSE concat('public.threadline_is_marked_v1(c.data)', lacking, unfilled) END,
        row_type, format('%I.%I', audited.table_schema, audited.table_name), recipe, asked, public.threadline_images(recipe, lines));
END $$;

-- The query that threadline_moment runs: for each key the newest change that counts, and its row if it has one. The table itself
-- is never read, so that whoever may ask gets the same answer, whatever was written to it without capture.
CREATE OR REPLACE FUNCTION public.threadline_moment_query(relation regclass, moment timestamptz, fill jsonb DEFAULT '{}', asked text[] DEFAULT NULL, careful boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    audited CONSTANT public.audit_tables := public.threadline_known_at(relation, moment);
    late CONSTANT pg_catalog.uuid[] := public.threadline_late(moment);
    -- A subquery, because long arrays are hashed only since PostgreSQL 15.
    counted pg_catalog.text := format('c.table_id = %s AND c.captured_at <= %L%s', audited.id, moment, CASE WHEN late <> '{}'
        THEN format(' AND c.transaction_id NOT IN (SELECT unnest(%L::uuid[]))', late) ELSE '' END);
    -- By the values of the key, since jsonb is more expensive to compare; a former name of a column is as good as its own.
    keys CONSTANT pg_catalog.text := (
        SELECT string_agg(format('coalesce(%s, c.table_pk #>> ''{}'') COLLATE "C"', (
            SELECT string_agg(format('c.table_pk ->> %L', n.name), ', ')
            FROM (SELECT k.name UNION ALL SELECT jsonb_array_elements_text(audited.former_columns -> k.name)) n)), ', ')
        FROM unnest(audited.key_columns) k(name));
    since pg_catalog.timestamptz;
    truncated bigint;
BEGIN
    -- The table was captured again when it was empty: what was recorded before is not of its rows.
    SELECT max(upper(g)) INTO since FROM unnest(audited.gaps) g WHERE upper(g) <= audited.horizon;
    IF since IS NOT NULL THEN
        counted := format('%s AND c.captured_at > %L', counted, since);
    END IF;
    EXECUTE format('SELECT max(c.id) FROM public.audit_changes c WHERE %s AND c.key_hash = hashtextextended(''{}'', 0) AND c.op = ''truncate''', counted)
        INTO truncated;
    IF truncated IS NOT NULL THEN
        counted := format('%s AND c.id > %s', counted, truncated);
    END IF;
    RETURN public.threadline_row_query(relation, audited, moment, fill, asked, careful, format('SELECT max(c.id) AS id FROM public.audit_changes c WHERE %s GROUP BY %s', counted, keys));
END $$;

-- The rows of a table as of a moment, by the time of commit. A NOT NULL column that the log has no value for is NULL, or an error
-- if it is one of those `asked` for: a condition on it would not hold where it should. A value that DDL made unknown is an error
-- if it is asked for, or if nobody says what is. Without JIT, which takes longer than it saves; a line of the log
-- is found by its id, not by reading all of it. Why it says that it gives few ROWS is told in query/moment/items.rs.
CREATE OR REPLACE FUNCTION public.threadline_moment(base anyelement, relation regclass, moment timestamptz, fill jsonb DEFAULT '{}', asked text[] DEFAULT NULL) RETURNS SETOF anyelement
LANGUAGE plpgsql STABLE ROWS 50
SET jit = off SET enable_hashjoin = off SET enable_mergejoin = off
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601' SET lc_monetary = 'C'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET array_nulls = 'on' SET xmloption = 'content'
AS $$
BEGIN
    RETURN QUERY EXECUTE public.threadline_moment_query(relation, moment, fill, asked);
EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    -- A row that can't be decoded: which, and why?
    EXECUTE format('SELECT count(q) FROM (%s) q', public.threadline_moment_query(relation, moment, fill, asked, true));
    RAISE;
END $$;

-- The moment of a query, which calls `functions`: an error if one of them could read tables as they are today. Functions in
-- C and those of PostgreSQL itself are taken to read none, a few excepted.
CREATE OR REPLACE FUNCTION public.threadline_at(moment timestamptz, functions text[]) RETURNS timestamptz
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    reader pg_catalog.regprocedure;
BEGIN
    SELECT p.oid INTO reader
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE p.proname = ANY (functions) AND CASE p.pronamespace WHEN 'pg_catalog'::regnamespace
        THEN p.proname ~ '^(query|table|schema|database|cursor)_to_xml' OR p.proname IN ('ts_stat', 'ts_rewrite')
        ELSE p.provolatile <> 'i' AND p.prokind <> 'a' AND l.lanname NOT IN ('c', 'internal') END
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION E'threadline: the function % could read tables as they are today\nLeave it out of the query, or declare it IMMUTABLE if it reads none.', reader
            USING ERRCODE = 'feature_not_supported';
    END IF;
    RETURN moment;
END $$;

-- Whether this cluster numbered a transaction of the log, so that its txid can be compared with those that run here. Its row
-- or its commit marker was then inserted by the very transaction that it names: xmin tells. What was inserted in a
-- savepoint has the savepoint's xmin, but the marker is inserted at commit, outside of savepoints. In a restored dump and in a
-- replicated log, xmin is that of the transaction that copied the row.
CREATE OR REPLACE FUNCTION public.threadline_numbered_here_v1(tx uuid) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN coalesce((
        SELECT t.xmin = t.txid::xid
            OR EXISTS (SELECT FROM public.audit_commits s WHERE s.transaction_id = tx AND s.xmin = t.txid::xid)
        FROM public.audit_transactions t WHERE t.id = tx), false);
END $$;

-- Whether the result of a query as of a timestamp is final: no transaction that was open then can still become visible.
-- False also means that it can't be known.
-- Transactions of other databases don't matter. When a transaction of another role began is only told to members of
-- pg_read_all_stats; for others, one that began later is recognised by its transaction id: `later` is that of a transaction
-- of the log that began after the timestamp, so all that had written by then have lower ones.
-- A standby shows neither the locks nor the prepared transactions of its primary, and its snapshots list no running
-- transactions, but their xmin is right: the oldest that runs on the primary, as far as was replayed.
-- A logical subscriber knows nothing of what runs on its publisher.
CREATE OR REPLACE FUNCTION public.threadline_settled(moment timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    -- What began after the snapshot isn't visible to it.
    repeatable CONSTANT boolean := current_setting('transaction_isolation') IN ('repeatable read', 'serializable');
    -- The lowest id of a transaction that began after the timestamp.
    since CONSTANT pg_catalog.uuid := encode(
        timestamptz_send(greatest(moment, '2000-01-01Z') + interval '1 microsecond') || decode('0000000000000000', 'hex'), 'hex')::uuid;
    later pg_catalog.xid8;
BEGIN
    IF moment IS NULL OR public.threadline_replicated_v1()
    -- The newest transaction was copied here: by a dump, or by a replication that may still bring earlier ones.
    OR NOT coalesce((
        SELECT public.threadline_numbered_here_v1(n.id) FROM (
            SELECT t.id FROM public.audit_transactions t WHERE t.txid IS DISTINCT FROM pg_current_xact_id_if_assigned()
            ORDER BY t.id DESC LIMIT 1) n), true)
    THEN
        RETURN false;
    END IF;
    -- The first transactions after the timestamp; where those were copied, the newest are as good, if higher.
    later := (
        SELECT min(n.txid::text::numeric)::text::xid8 FROM (
            (SELECT t.id, t.txid FROM public.audit_transactions t WHERE t.id >= since ORDER BY t.id LIMIT 10)
            UNION ALL
            (SELECT t.id, t.txid FROM public.audit_transactions t WHERE t.id >= since ORDER BY t.id DESC LIMIT 10)) n
        WHERE public.threadline_numbered_here_v1(n.id));
    IF pg_is_in_recovery() THEN
        RETURN coalesce(pg_snapshot_xmin(pg_current_snapshot()) >= later, false);
    ELSIF moment >= (CASE WHEN repeatable THEN transaction_timestamp() ELSE statement_timestamp() END)
        OR pg_current_xact_id_if_assigned() IS NOT NULL AND transaction_timestamp() <= moment
    THEN
        RETURN false;
    END IF;
    RETURN NOT EXISTS (
        SELECT FROM (
            SELECT l.transactionid AS xid, a.datid, a.xact_start AS began
            FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
            WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid IS NOT NULL AND l.pid <> pg_backend_pid()
            UNION ALL
            SELECT p.transaction, d.oid, NULL FROM pg_catalog.pg_prepared_xacts p JOIN pg_catalog.pg_database d ON d.datname = p.database
        ) running
        WHERE coalesce(running.datid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()), true)
          AND NOT coalesce(running.began > moment, age(running.xid) <= age(later::xid), false)
    -- What ended since the snapshot shows in no lock, and not in the snapshot either. By xmin, since a snapshot that was
    -- taken on a standby outlives its promotion.
    ) AND (NOT repeatable OR coalesce(pg_snapshot_xmin(pg_current_snapshot()) >= later, false));
END $$;
