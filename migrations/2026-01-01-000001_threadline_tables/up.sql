-- The five tables of the audit log, their indexes, and the roles that read it, prune it and may bypass it.
-- Everything here may run again: what exists is left alone, what is missing is added.

-- Behind a migration that waits for the log, every writer of an audited table waits too.
SET LOCAL lock_timeout = '2s';

-- Refuses a schema that is no safe place for the log. Functions of the log run as its owner and call each other by name, so
-- whoever may create objects beside them can plant a better match for a call; and whoever owns one of the objects can
-- replace it. `accepted` are the roles that may own the log's objects, besides superusers. Called before anything is
-- created, after everything is, and whenever a table is captured.
CREATE OR REPLACE FUNCTION public.threadline_check_place_v1(accepted oid[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place pg_catalog.record;
    alien pg_catalog.record;
    strangers pg_catalog.text;
BEGIN
    SELECT n.oid, quote_ident(n.nspname) AS name, n.nspowner, quote_ident(pg_get_userbyid(n.nspowner)) AS owner, n.nspacl INTO place
    FROM pg_namespace n WHERE n.oid = 'public'::regnamespace;

    -- A superuser, or a member of an owner, may do so anyway.
    SELECT string_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, ', ') INTO strangers
    FROM aclexplode(place.nspacl) a
    WHERE a.privilege_type = 'CREATE' AND NOT (a.grantee <> 0 AND (
        a.grantee = place.nspowner OR a.grantee = ANY (accepted) OR pg_has_role(a.grantee, place.nspowner, 'MEMBER')
        OR EXISTS (SELECT FROM unnest(accepted) o WHERE pg_has_role(a.grantee, o, 'MEMBER'))));
    IF strangers IS NOT NULL THEN
        -- The message has the ways out, because Diesel drops hints.
        RAISE EXCEPTION E'threadline: % may create objects in schema %, the place of the audit log\nWhat they create there could run as the owner of the log. One of these helps:\n- let %, the owner of the schema, run: REVOKE CREATE ON SCHEMA % FROM %;%\n%- install into a schema of its own: threadline install --schema audit',
            strangers, place.name, place.owner, place.name, strangers,
            CASE WHEN NOT pg_has_role(current_user, place.nspowner, 'USAGE') AND NOT EXISTS (
                SELECT FROM aclexplode(place.nspacl) a WHERE a.privilege_type = 'CREATE' AND a.grantee <> 0 AND pg_has_role(current_user, a.grantee, 'USAGE'))
                THEN format(' GRANT CREATE ON SCHEMA %s TO %I;', place.name, current_user) ELSE '' END,
            CASE WHEN strangers LIKE '%PUBLIC%' THEN E'- write that REVOKE into the migration: threadline install --revoke-create\n' ELSE '' END
            USING ERRCODE = 'insufficient_privilege';
    END IF;

    SELECT o.kind, o.name, quote_ident(pg_get_userbyid(o.owner)) AS owner INTO alien
    FROM (
        -- The owner of a schema may drop what is in it. 2200 is the oid of the schema that every database begins with: it
        -- belongs to the owner of the database, or to a superuser.
        SELECT 1 AS place, 'SCHEMA' AS kind, place.name, place.nspowner AS owner
        WHERE place.oid <> 2200 AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = ANY (accepted) AND NOT r.rolsuper AND pg_has_role(r.oid, place.nspowner, 'USAGE'))
        UNION ALL
        SELECT 2, CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text, c.relowner
        FROM pg_class c WHERE c.relnamespace = place.oid
            AND c.relname IN ('audit_tables', 'audit_transactions', 'audit_changes', 'audit_actions', 'audit_commits', 'audit_changes_id_seq')
        UNION ALL
        SELECT 3, 'ROUTINE', p.oid::regprocedure::text, p.proowner FROM pg_proc p WHERE p.pronamespace = place.oid AND left(p.proname, 11) = 'threadline_'
    ) o
    WHERE o.owner <> ALL (accepted) AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = o.owner AND r.rolsuper)
    ORDER BY o.place, o.name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION E'threadline: % % belongs to %, and not to the owner of the audit log\nIf it is not of the log, remove it: DROP % %;\nIf it is, let a superuser run: ALTER % % OWNER TO %;\nor install as %, or with threadline install --owner %',
            lower(alien.kind), alien.name, alien.owner, alien.kind, alien.name, alien.kind, alien.name, quote_ident(pg_get_userbyid(accepted[1])), alien.owner, alien.owner
            USING ERRCODE = 'insufficient_privilege';
    END IF;

    -- The right to create a trigger is part of GRANT ALL, and triggers of a table run as whoever writes to it.
    SELECT t.tgname AS name, t.tgrelid::regclass AS target, quote_ident(pg_get_userbyid(p.proowner)) AS owner INTO alien
    FROM unnest(ARRAY['audit_tables', 'audit_transactions', 'audit_changes', 'audit_actions', 'audit_commits']) l(name)
    JOIN pg_class c ON c.relnamespace = place.oid AND c.relname = l.name
    CROSS JOIN LATERAL (SELECT c.oid UNION SELECT r.relid FROM pg_partition_tree(c.oid) r) r(oid)
    JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
    JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE p.proowner <> ALL (accepted) AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = p.proowner AND r.rolsuper)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION E'threadline: trigger % of % runs code of % as the owner of the audit log\nRemove it: DROP TRIGGER % ON %;',
            alien.name, alien.target, alien.owner, quote_ident(alien.name), alien.target
            USING ERRCODE = 'insufficient_privilege';
    END IF;
END $$;

-- Before anything is created: CREATE OR REPLACE and IF NOT EXISTS would leave what is there to whoever owns it. Accepted are
-- the role that `threadline install --owner` names, the installing role, and an owner of an existing log as whom it may act.
-- A superuser may act as everybody, which tells nothing about who made the log.
SELECT public.threadline_check_place_v1(array_remove(ARRAY[
    (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_setting('threadline.log_owner', true)),
    (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user),
    (SELECT c.relowner FROM pg_catalog.pg_class c, pg_catalog.pg_roles r
     WHERE c.relnamespace = 'public'::regnamespace AND c.relname = 'audit_changes'
       AND r.rolname = current_user AND NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE'))], NULL));

CREATE TABLE IF NOT EXISTS public.audit_tables (
    id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    table_schema text NOT NULL,
    table_name text NOT NULL,
    former_names text[] NOT NULL DEFAULT '{}',
    key_columns text[] NOT NULL,
    installed_at timestamptz,
    horizon timestamptz,
    fingerprint text NOT NULL,
    function_version integer NOT NULL,
    -- Intervals without capture, after which a row is unknown until its next change.
    gaps tstzrange[] NOT NULL DEFAULT '{}',
    -- Column -> the placeholders that it was ever stored as; an empty list for an excluded column.
    redacted jsonb NOT NULL DEFAULT '{}',
    -- Column -> its former names, newest first.
    former_columns jsonb NOT NULL DEFAULT '{}',
    -- Column -> the value that rows from before the column have; PostgreSQL forgets it when it rewrites the table.
    added_columns jsonb NOT NULL DEFAULT '{}',
    -- How its rows are captured; see threadline_record_v1.
    rules jsonb,
    -- Columns that were ever stored only when they change: a missing one is read from an earlier change.
    on_change text[] NOT NULL DEFAULT '{}',
    -- What the table was besides its name when this was written, and what DDL may have changed; see threadline_identity_v1.
    identity jsonb NOT NULL DEFAULT '{}',
    UNIQUE (table_schema, table_name)
);

CREATE TABLE IF NOT EXISTS public.audit_transactions (
    id uuid PRIMARY KEY,
    txid xid8 NOT NULL,
    occurred_at timestamptz NOT NULL,
    source text,
    meta jsonb,
    actor_ref jsonb,
    action_id uuid,
    request_id text,
    correlation_id text,
    job_id text,
    session_user_name text NOT NULL,
    role_name text,
    application_name text,
    client_address inet
);

-- No foreign key and no CHECK: both cost the writer, and a foreign key makes SERIALIZABLE writers fail.
CREATE TABLE IF NOT EXISTS public.audit_changes (
    id bigint PRIMARY KEY,
    key_hash bigint NOT NULL,
    captured_at timestamptz NOT NULL,
    transaction_id uuid NOT NULL,
    table_id integer NOT NULL,
    table_schema text NOT NULL,
    table_name text NOT NULL,
    op text NOT NULL,
    table_pk jsonb NOT NULL,
    data_after jsonb,
    changed_fields text[],
    changed_from jsonb
);
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = 'public.audit_changes'::regclass AND a.attname = 'changed_from' AND NOT a.attisdropped) THEN
        ALTER TABLE public.audit_changes ADD COLUMN changed_from jsonb;
    END IF;
END $$;

-- Uncached, so that ids follow the order in which one row's changes are captured.
CREATE SEQUENCE IF NOT EXISTS public.audit_changes_id_seq AS bigint CACHE 1 OWNED BY public.audit_changes.id;

CREATE TABLE IF NOT EXISTS public.audit_actions (
    id uuid PRIMARY KEY,
    transaction_id uuid NOT NULL,
    name text NOT NULL,
    actor_ref jsonb,
    status text NOT NULL,
    verb text,
    category text,
    reason text,
    comment text,
    correlation_id text,
    request_id text,
    job_id text,
    requires_changes boolean NOT NULL DEFAULT false,
    inserted_at timestamptz NOT NULL,
    session_user_name text NOT NULL,
    role_name text
);

-- One row when a transaction commits; one more when something is captured after that. The last one counts.
CREATE TABLE IF NOT EXISTS public.audit_commits (
    transaction_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    committed_at timestamptz NOT NULL
);

-- It has no key, and a publication FOR ALL TABLES would refuse to delete from it.
ALTER TABLE public.audit_commits REPLICA IDENTITY FULL;

-- The key is found by its hash, since a legal key may be longer than a btree entry; queries recheck table_pk.
CREATE INDEX IF NOT EXISTS audit_changes_key ON public.audit_changes (table_id, key_hash, id) INCLUDE (captured_at);
CREATE INDEX IF NOT EXISTS audit_changes_transaction ON public.audit_changes (transaction_id);
CREATE INDEX IF NOT EXISTS audit_changes_table_time ON public.audit_changes (table_id, captured_at, id);
CREATE INDEX IF NOT EXISTS audit_changes_time ON public.audit_changes (captured_at, id);
CREATE INDEX IF NOT EXISTS audit_transactions_time ON public.audit_transactions (occurred_at, id);
CREATE INDEX IF NOT EXISTS audit_transactions_actor ON public.audit_transactions
    ((actor_ref ->> 'type'), (actor_ref ->> 'id'), occurred_at) WHERE actor_ref IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_transactions_correlation ON public.audit_transactions (correlation_id)
    WHERE correlation_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_transactions_action ON public.audit_transactions (action_id)
    WHERE action_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_actions_transaction ON public.audit_actions (transaction_id);
CREATE INDEX IF NOT EXISTS audit_actions_correlation ON public.audit_actions (correlation_id)
    WHERE correlation_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS audit_commits_transaction ON public.audit_commits (transaction_id, committed_at);
CREATE INDEX IF NOT EXISTS audit_commits_time ON public.audit_commits (committed_at)
    INCLUDE (transaction_id, occurred_at);
-- The few transactions that were open for long: which of them spanned a moment is asked for every as-of query.
CREATE INDEX IF NOT EXISTS audit_commits_long ON public.audit_commits (committed_at, occurred_at)
    WHERE committed_at - occurred_at > interval '10 seconds';

DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 140000 THEN
        EXECUTE 'ALTER TABLE public.audit_changes ALTER COLUMN data_after SET COMPRESSION lz4,
                                                  ALTER COLUMN changed_from SET COMPRESSION lz4';
    END IF;
EXCEPTION WHEN feature_not_supported THEN
    NULL; -- a server built without lz4 compresses with pglz
END $$;

-- Roles belong to the cluster and stay when the log goes. Where they can't be created, an administrator may do it.
DO $$
DECLARE
    wanted pg_catalog.text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['threadline_reader', 'threadline_retention', 'threadline_bypass', 'threadline_recorder'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'threadline: role % is missing and % may not create it', wanted, current_user;
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of the cluster was faster
        END;
    END LOOP;
END $$;
