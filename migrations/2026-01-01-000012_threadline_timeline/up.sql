-- Lists across tables: what they need to know of tables, of what a walk of pages sees, and of scopes. They run with the
-- rights of the caller.

SET LOCAL lock_timeout = '2s';

CREATE INDEX IF NOT EXISTS audit_transactions_request ON public.audit_transactions (request_id)
    WHERE request_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_actions_request ON public.audit_actions (request_id)
    WHERE request_id IS NOT NULL;

-- The audited tables by this name and in this schema, each NULL for any; by former names if none is called so now. An
-- error if there are none: an empty answer would say that nothing happened. ROWS, since the planner guesses a thousand, finds
-- that dear, and compiles the query.
CREATE OR REPLACE FUNCTION public.threadline_tables_v1(wanted_schema text, wanted_name text) RETURNS SETOF integer
LANGUAGE plpgsql STABLE ROWS 1
AS $$
BEGIN
    RETURN QUERY SELECT t.id FROM public.audit_tables t
        WHERE t.table_schema = coalesce(wanted_schema, t.table_schema) AND t.table_name = coalesce(wanted_name, t.table_name);
    IF NOT FOUND AND wanted_name IS NOT NULL THEN
        RETURN QUERY SELECT t.id FROM public.audit_tables t
            WHERE t.table_schema = coalesce(wanted_schema, t.table_schema) AND wanted_name = ANY (t.former_names);
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'threadline: no audited table is called %', concat_ws('.', wanted_schema, coalesce(wanted_name, '*'))
            USING ERRCODE = 'undefined_object', HINT = 'SELECT * FROM public.audit_tables lists those that are.';
    END IF;
END $$;

-- True if an audited table by this name and in this schema has a column of this name, had one or recorded one; an error if not: an
-- empty answer would say that it never changed. The log itself is hardly looked at. So where columns may have come and gone
-- without a look at the table, any name is taken for one of theirs.
CREATE OR REPLACE FUNCTION public.threadline_check_field_v1(wanted_schema text, wanted_name text, field text) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    tables CONSTANT integer[] := CASE WHEN wanted_schema IS NULL AND wanted_name IS NULL THEN ARRAY(SELECT t.id FROM public.audit_tables t)
        ELSE ARRAY(SELECT public.threadline_tables_v1(wanted_schema, wanted_name)) END;
BEGIN
    IF tables = '{}' OR EXISTS (
        SELECT FROM public.audit_tables t
        WHERE t.id = ANY (tables) AND (
            field = ANY (t.key_columns || t.on_change) OR t.redacted ? field OR t.added_columns ? field
            OR t.identity -> 'columns' ? field OR t.identity -> 'freed' ? field OR t.former_columns ? field
            OR EXISTS (SELECT FROM jsonb_each(t.former_columns) f WHERE f.value ? field)
            OR EXISTS (SELECT FROM jsonb_array_elements(t.identity -> 'unsure') u WHERE u -> 'names' ? field)
            OR EXISTS (SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.table_name
                JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = field AND a.attnum > 0 WHERE n.nspname = t.table_schema)))
    THEN
        RETURN true;
    -- More columns had numbers than there are names, or the table is gone or another one. What it recorded of late is looked at, too,
    -- and of each time after which its columns had other names.
    ELSIF EXISTS (
        SELECT FROM public.audit_tables t
        LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = t.table_schema
        LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.table_name
        WHERE t.id = ANY (tables) AND (
            c.oid IS NULL OR NOT t.identity ? 'columns'
            OR (t.identity ->> 'width')::integer > (
                SELECT count(*) FROM (
                    SELECT jsonb_object_keys(t.identity -> 'columns') UNION SELECT jsonb_array_elements_text(t.identity -> 'freed')
                    EXCEPT SELECT jsonb_array_elements_text(f.value) FROM jsonb_each(t.former_columns) f) names)
            OR EXISTS (
                SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attisdropped
                    AND a.attnum > CASE WHEN (t.identity ->> 'relation')::bigint = c.oid::bigint THEN (t.identity ->> 'width')::integer ELSE 0 END)
            OR (t.identity ->> 'relation')::bigint <> c.oid::bigint
                AND t.identity ->> 'cluster' = (SELECT s.system_identifier::text FROM pg_catalog.pg_control_system() s)
                AND (t.identity ->> 'log')::bigint = 'public.audit_changes'::regclass::oid::bigint
            OR EXISTS (
                SELECT FROM (
                    SELECT '(,)' UNION ALL SELECT u ->> 'interval' FROM jsonb_array_elements(t.identity -> 'unsure') u) i(span)
                CROSS JOIN LATERAL (
                    SELECT l.data_after, l.changed_fields FROM public.audit_changes l
                    WHERE (l.table_id, l.captured_at) >= (t.id, coalesce(lower(i.span::tstzrange), '-infinity'))
                      AND (l.table_id, l.captured_at) <= (t.id, coalesce(upper(i.span::tstzrange), 'infinity'))
                    ORDER BY l.table_id DESC, l.captured_at DESC, l.id DESC LIMIT 10) l WHERE l.data_after ? field OR field = ANY (l.changed_fields))))
    THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION 'threadline: no audited table% has or had a column called %',
        CASE WHEN wanted_schema IS NULL AND wanted_name IS NULL THEN '' ELSE ' called ' || concat_ws('.', wanted_schema, coalesce(wanted_name, '*')) END, field
        USING ERRCODE = 'undefined_column', HINT = 'SELECT table_name, identity -> ''columns'' FROM public.audit_tables lists those that there are.';
END $$;

-- Where the log has the changes of one row that threadline_history shows: under the key and under those of former names of its
-- columns, and under '{}' each TRUNCATE of its table, which counts if the row was there. Where the table itself is gone, the
-- key is taken as it stands. ROWS, as above.
CREATE OR REPLACE FUNCTION public.threadline_key_places_v1(wanted_schema text, wanted_name text, key jsonb)
RETURNS TABLE (table_id integer, keys jsonb[], key_hash bigint, table_pk jsonb)
LANGUAGE plpgsql STABLE ROWS 2
AS $$
DECLARE
    audited pg_catalog.record;
BEGIN
    FOR audited IN
        SELECT t.id, to_regclass(format('%I.%I', t.table_schema, t.table_name)) AS relation FROM public.audit_tables t
        WHERE t.id IN (SELECT public.threadline_tables_v1(wanted_schema, wanted_name))
    LOOP
        keys := public.threadline_keys(audited.id,
            CASE WHEN audited.relation IS NULL THEN key ELSE public.threadline_key(audited.relation, key) END);
        RETURN QUERY SELECT audited.id, keys, hashtextextended(k::text, 0), k FROM unnest(keys || '{}'::jsonb) k;
    END LOOP;
END $$;

-- Whether a walk along the log, of each of the tables (NULL for any), meets a page of an actor's changes sooner than the actor's
-- transactions lead to all of them. Either shows the same, so this need not be exact. It walks some way to find out: an actor
-- with 1,000 transactions has too few for a walk, and at every doubling of the way, so has one with a quarter as many as there
-- were changes on it. What is spent here is therefore in proportion to what the shorter way takes.
-- Without sorts, because the planner would rather sort a table than follow an index that far.
CREATE OR REPLACE FUNCTION public.threadline_walk_v1(
    actor_type text, actor_id text, tables integer[], wanted_op text, field text, lower_end timestamptz, upper_end timestamptz,
    direction text, page bigint
) RETURNS boolean
LANGUAGE plpgsql STABLE
SET enable_sort = off SET enable_incremental_sort = off SET jit = off
AS $$
DECLARE
    is_actor CONSTANT pg_catalog.text := format('t.actor_ref ->> ''type'' = $1 AND t.actor_ref ->> ''id'' %s',
        CASE WHEN actor_id IS NULL THEN 'IS NULL' ELSE '= $2' END);
    few bigint := 1000;
    many boolean;
    reach bigint := 0;
    on_the_way bigint := 0;
    met bigint;
    wanted integer;
    of_actor boolean;
BEGIN
    FOREACH wanted IN ARRAY tables LOOP
        met := 0;
        FOR of_actor IN EXECUTE format(
            'SELECT ($3 IS NULL OR c.op = $3) AND ($4 IS NULL OR $4 = ANY (c.changed_fields))
                 AND (SELECT %1$s FROM public.audit_transactions t WHERE t.id = c.transaction_id)
             FROM public.audit_changes c WHERE (%2$s c.captured_at) >= (%3$s $6) AND (%2$s c.captured_at) <= (%3$s $7)
             ORDER BY %4$s c.captured_at %5$s, c.id %5$s',
            is_actor, CASE WHEN wanted IS NOT NULL THEN 'c.table_id,' END, CASE WHEN wanted IS NOT NULL THEN '$5,' END,
            CASE WHEN wanted IS NOT NULL THEN 'c.table_id ' || direction || ',' END, direction)
            USING actor_type, actor_id, wanted_op, field, wanted, lower_end, upper_end
        LOOP
            IF on_the_way = reach THEN
                EXECUTE format('SELECT count(*) > $3 FROM (SELECT FROM public.audit_transactions t WHERE %s
                    ORDER BY t.occurred_at LIMIT $3 + 1) n', is_actor) INTO many USING actor_type, actor_id, few;
                IF NOT many THEN
                    RETURN false;
                END IF;
                few := few * 2;
                reach := few * 4;
            END IF;
            on_the_way := on_the_way + 1;
            IF of_actor THEN
                met := met + 1;
                EXIT WHEN met = page;
            END IF;
        END LOOP;
    END LOOP;
    RETURN true;
END $$;

-- Refuses a page: it can't be known whether the walk sees a row. Which one is not told: it may be out of scope.
CREATE OR REPLACE FUNCTION public.threadline_unseen_v1() RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RAISE EXCEPTION E'threadline: the log has changes of which it is not known whether they were visible when the first page was read\nBegin again at the first page.'
        USING ERRCODE = 'object_not_in_prerequisite_state';
END $$;

-- Whether a subscription of this database applies transactions while they still run on the publisher: each savepoint there
-- is one here.
CREATE OR REPLACE FUNCTION public.threadline_applied_in_savepoints_v1() RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    found boolean := false;
BEGIN
    -- The column is another one before PostgreSQL 16.
    IF current_setting('server_version_num')::integer >= 160000 THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_catalog.pg_subscription s WHERE s.substream = ''p''
            AND s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()))' INTO found;
    END IF;
    RETURN found;
END $$;

-- Whether a walk of pages sees a row of the log: whether its transaction had committed at `seen`. Two things tell. The
-- row's xmin is true in this cluster, but may be a savepoint's, which snapshots don't list; `tx` names the transaction as a
-- whole, but in a restored log it is that of another cluster, whose numbers mean nothing here. A row is of the transaction
-- that it names unless its xmin is older than that.
CREATE OR REPLACE FUNCTION public.threadline_seen_v1(row_xmin xid, tx uuid, seen pg_snapshot) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    now_at CONSTANT bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    -- The latest transaction with these 32 bits.
    inserted_by CONSTANT bigint := now_at - ((now_at - row_xmin::text::bigint) & 4294967295);
    named CONSTANT bigint := ('x' || replace(right(tx::text, 17), '-', ''))::bit(64)::bigint;
    running CONSTANT bigint[] := ARRAY(SELECT pg_snapshot_xip(seen)::text::bigint);
    next_at CONSTANT bigint := pg_snapshot_xmax(seen)::text::bigint;
BEGIN
    -- Of a savepoint in a transaction that ran then, or copied by one that had ended and from a transaction with the same
    -- number elsewhere?
    IF named < inserted_by AND named = ANY (running) AND inserted_by < next_at AND NOT inserted_by = ANY (running)
        AND NOT public.threadline_numbered_here_v1(tx)
    THEN
        PERFORM public.threadline_unseen_v1();
    -- Applied in a savepoint, perhaps of a transaction that ran then.
    ELSIF inserted_by > running[1] AND inserted_by < next_at AND NOT inserted_by = ANY (running)
        AND public.threadline_applied_in_savepoints_v1() AND NOT public.threadline_numbered_here_v1(tx)
    THEN
        PERFORM public.threadline_unseen_v1();
    END IF;
    RETURN inserted_by < pg_snapshot_xmin(seen)::text::bigint
        -- The reader's own, which it saw.
        OR named = pg_current_xact_id_if_assigned()::text::bigint
        OR NOT (inserted_by >= next_at OR inserted_by = ANY (running))
            AND NOT (named <= inserted_by AND (named >= next_at OR named = ANY (running)));
END $$;

-- When the server was started, in microseconds: it tells servers with the same files apart. What a server has shown stays
-- visible until it is restarted; a standby may then come back at an earlier state.
CREATE OR REPLACE FUNCTION public.threadline_run_v1() RETURNS bigint
LANGUAGE sql STABLE
AS $$ SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint $$;

-- What the first page of a walk sees on a standby, as a pg_snapshot with the transactions that were running: the snapshot
-- itself doesn't list them there. What is visible of the log tells which had committed; all others between xmin and xmax are
-- taken to be running. After it, the server's start and up to which occurred_at the log was looked at. 'running' if that is
-- too much for a cursor.
CREATE OR REPLACE FUNCTION public.threadline_standby_snapshot_v1(seen pg_snapshot) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    oldest CONSTANT bigint := pg_snapshot_xmin(seen)::text::bigint;
    next_at CONSTANT bigint := pg_snapshot_xmax(seen)::text::bigint;
    -- Transactions of other times and without changes are in between.
    reach CONSTANT bigint := 100 + 4 * (next_at - oldest);
    met bigint;
    covered bigint := 0;
    visible bigint[];
    running bigint[] := '{}';
BEGIN
    IF next_at - oldest > 10000 THEN
        RETURN 'running';
    ELSIF next_at > oldest THEN
        SELECT count(*), min((extract(epoch FROM n.occurred_at) * 1000000)::bigint),
               array_agg(n.txid) FILTER (WHERE n.txid >= oldest AND public.threadline_numbered_here_v1(n.id))
            INTO met, covered, visible
        FROM (SELECT t.id, t.occurred_at, t.txid::text::bigint AS txid FROM public.audit_transactions t
            ORDER BY t.occurred_at DESC, t.id DESC LIMIT reach) n;
        covered := CASE WHEN met = reach THEN covered ELSE 0 END;
        running := ARRAY(SELECT generate_series(oldest, next_at - 1) EXCEPT SELECT unnest(visible) ORDER BY 1);
        IF cardinality(running) > 1000 THEN
            RETURN 'running';
        END IF;
    END IF;
    RETURN format('%s:%s:%s/%s/%s', oldest, next_at, array_to_string(running, ','), public.threadline_run_v1(), covered);
END $$;

-- Whether a standby can go on with a walk. What its first page saw may not have been replayed yet, unless this server itself
-- has shown it.
CREATE OR REPLACE FUNCTION public.threadline_walk_goes_on_v1(begun_at bigint, seen pg_snapshot) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT begun_at = public.threadline_run_v1() OR pg_snapshot_xmin(pg_current_snapshot()) >= pg_snapshot_xmax(seen)
$$;

-- As threadline_seen_v1, for a walk that began on a standby. What it took to be running may have committed before only if
-- it was not looked at.
CREATE OR REPLACE FUNCTION public.threadline_seen_on_standby_v1(row_xmin xid, tx uuid, seen pg_snapshot, covered bigint) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    now_at CONSTANT bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    inserted_by CONSTANT bigint := now_at - ((now_at - row_xmin::text::bigint) & 4294967295);
    named CONSTANT bigint := ('x' || replace(right(tx::text, 17), '-', ''))::bit(64)::bigint;
BEGIN
    IF inserted_by < pg_snapshot_xmin(seen)::text::bigint THEN
        RETURN true;
    ELSIF inserted_by >= pg_snapshot_xmax(seen)::text::bigint THEN
        RETURN false;
    ELSIF inserted_by <> named AND NOT public.threadline_numbered_here_v1(tx) THEN
        PERFORM public.threadline_unseen_v1();
    ELSIF NOT named = ANY (ARRAY(SELECT pg_snapshot_xip(seen)::text::bigint)) THEN
        RETURN true;
    ELSIF NOT coalesce((
        SELECT (extract(epoch FROM t.occurred_at) * 1000000)::bigint > covered
        FROM public.audit_transactions t WHERE t.id = tx), false)
    THEN
        PERFORM public.threadline_unseen_v1();
    END IF;
    RETURN false;
END $$;

-- Whether a row's column had this value before a change or has it after; false where the log can't tell.
CREATE OR REPLACE FUNCTION public.threadline_had_or_has_v1(change public.audit_changes, field text, value text) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF change.data_after ->> field = value OR change.changed_from ->> field = value THEN
        RETURN true;
    END IF;
    -- A column that is stored only when it changes, or a row that is gone and wasn't kept.
    IF NOT coalesce(change.data_after, change.changed_from, '{}') ? field
        AND public.threadline_state(change) ->> field = value
    THEN
        RETURN true;
    END IF;
    RETURN field = ANY (change.changed_fields) AND NOT coalesce(change.changed_from, '{}') ? field AND EXISTS (
        SELECT FROM public.threadline_previous(
            change.table_id, public.threadline_keys(change.table_id, change.table_pk), change.id) p
        WHERE public.threadline_whole(p) ->> field = value);
END $$;

-- Whether the setting asks for a scope.
CREATE OR REPLACE FUNCTION public.threadline_scope_required_v1() RETURNS boolean
LANGUAGE sql STABLE
AS $$ SELECT lower(coalesce(current_setting('threadline.require_scope', true), '') COLLATE pg_catalog."C") NOT IN ('', 'off', 'false', 'no', '0') $$;

-- True, unless a read of these tables, or of all audited ones, has to say what may be seen: where the setting asks for it,
-- and where row level security is in force, since it isn't on a table's history.
CREATE OR REPLACE FUNCTION public.threadline_without_scope_v1(wanted_schema text, wanted_name text) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    secured pg_catalog.text;
BEGIN
    IF public.threadline_scope_required_v1() THEN
        RAISE EXCEPTION 'threadline: this read needs a scope, and has none'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'The setting threadline.require_scope is on. Give the read a scope, or say unscoped.';
    END IF;
    SELECT format('%I.%I', n.nspname, c.relname) INTO secured
    FROM public.audit_tables t
    JOIN pg_catalog.pg_namespace n ON n.nspname = t.table_schema
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.table_name
    WHERE c.relrowsecurity AND t.table_schema = coalesce(wanted_schema, t.table_schema)
      AND (wanted_name IS NULL OR t.table_name = wanted_name OR wanted_name = ANY (t.former_names))
    ORDER BY 1 LIMIT 1;
    IF secured IS NOT NULL THEN
        RAISE EXCEPTION 'threadline: table % is under row level security, and this read of its history has no scope', secured
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Its policies don''t apply to its history. Give the read a scope, or say unscoped.';
    END IF;
    RETURN true;
END $$;

-- The same for one table, which is what it returns.
CREATE OR REPLACE FUNCTION public.threadline_without_scope_v1(relation regclass) RETURNS regclass
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF public.threadline_scope_required_v1()
        OR (SELECT c.relrowsecurity FROM pg_catalog.pg_class c WHERE c.oid = relation)
    THEN
        PERFORM public.threadline_without_scope_v1(n.nspname, c.relname)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    END IF;
    RETURN relation;
END $$;

-- The same for the tables of a query as of a moment, of which only the query itself can say what may be seen.
CREATE OR REPLACE FUNCTION public.threadline_moment_without_scope_v1(relations regclass[]) RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    secured pg_catalog.regclass;
BEGIN
    IF public.threadline_scope_required_v1() THEN
        RAISE EXCEPTION E'threadline: this query as of a moment reads the history of % and has no scope, for which the setting threadline.require_scope asks\nFilter the query by what may be seen, and say so: .unscoped().',
            array_to_string(relations, ', ') USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT c.oid INTO secured FROM pg_catalog.pg_class c WHERE c.oid = ANY (relations) AND c.relrowsecurity ORDER BY c.relname LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION E'threadline: table % is under row level security, whose policies don''t apply to its history, which this query as of a moment reads\nFilter the query by what may be seen, and say so: .unscoped().',
            secured USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN true;
END $$;

-- The line by which a scope judges what is known of a row: a TRUNCATE says nothing of it, but the line before does.
CREATE OR REPLACE FUNCTION public.threadline_judged_v1(change public.audit_changes, relation regclass, key jsonb)
RETURNS public.audit_changes
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    judged public.audit_changes := change;
BEGIN
    IF change.op = 'truncate' THEN
        SELECT h.* INTO judged FROM public.threadline_history(relation, key) h
        WHERE h.id < change.id AND h.op <> 'truncate' ORDER BY h.id DESC LIMIT 1;
    END IF;
    RETURN judged;
END $$;

-- What as-of answers for a row that never was.
CREATE OR REPLACE FUNCTION public.threadline_never_v1(relation regclass, moment timestamptz) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN moment >= t.horizon AND NOT EXISTS (SELECT FROM unnest(t.gaps) g WHERE g && tstzrange(t.horizon, moment, '[]'))
        THEN 'not_yet_created' ELSE 'unknown' END
    FROM public.threadline_entry(relation) t
$$;
