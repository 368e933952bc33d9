-- threadline: base revision 1
-- storage: public

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

-- Who is writing: one audit_transactions row for each transaction, and the seal of its commit.

SET LOCAL lock_timeout = '2s';

-- The id of a transaction is computed, never looked up: its start as PostgreSQL keeps it (microseconds since 2000), then its
-- transaction id. A dump restored into a younger cluster can't collide with it, and no setting of the session is trusted
-- with it.
CREATE OR REPLACE FUNCTION public.threadline_transaction_id_v1() RETURNS uuid
LANGUAGE sql STABLE
AS $$ SELECT encode(timestamptz_send(transaction_timestamp()) || xid8send(pg_current_xact_id()), 'hex')::pg_catalog.uuid $$;

-- Reads an actor and refuses what isn't one.
CREATE OR REPLACE FUNCTION public.threadline_actor_v1(setting text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    actor pg_catalog.jsonb;
BEGIN
    IF setting IS NULL OR setting = '' THEN
        RETURN NULL;
    END IF;
    BEGIN
        actor := setting::pg_catalog.jsonb;
    EXCEPTION WHEN data_exception OR statement_too_complex THEN
        actor := NULL;
    END;
    IF jsonb_typeof(actor) = 'object' AND actor - '{type,id}'::pg_catalog.text[] = '{}' AND jsonb_typeof(actor -> 'type') = 'string'
        AND (CASE WHEN actor ->> 'type' IN ('user', 'admin', 'service_account', 'job', 'system') THEN
            jsonb_typeof(actor -> 'id') = 'string' AND length(actor ->> 'id') BETWEEN 1 AND 255
            AND actor ->> 'id' !~ E'[\\u0001-\\u001f\\u007f-\\u009f]'
        ELSE actor ->> 'type' = 'anonymous' AND coalesce(actor -> 'id', 'null') = 'null' END)
    THEN
        RETURN CASE WHEN actor ->> 'type' = 'anonymous' THEN '{"type": "anonymous"}' ELSE actor END;
    END IF;
    RAISE EXCEPTION 'threadline: the setting threadline.actor_ref does not hold an actor'
        USING ERRCODE = 'invalid_parameter_value',
              HINT = 'Expected {"type": "user", "id": "42"}: type is user, admin, service_account, job or system with an id of 1 to 255 characters, none of them a control character, or anonymous without an id.';
END $$;

-- The metadata that the application sent along, bounded.
CREATE OR REPLACE FUNCTION public.threadline_meta_v1(setting text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF setting IS NULL OR setting = '' THEN
        RETURN NULL;
    END IF;
    IF octet_length(setting) > 65536 THEN
        RETURN jsonb_build_object('$threadline', 'omitted', 'bytes', octet_length(setting));
    END IF;
    IF jsonb_typeof(setting::pg_catalog.jsonb) = 'object' THEN
        RETURN setting::pg_catalog.jsonb;
    END IF;
    RAISE data_exception;
EXCEPTION WHEN data_exception OR statement_too_complex THEN
    RAISE EXCEPTION 'threadline: the setting threadline.meta does not hold a JSON object'
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Expected an object, such as {"ticket": "A-7"}, or nothing.';
END $$;

-- Actions have ids that are computed from the transaction, so that a transaction can only ever name its own.
CREATE OR REPLACE FUNCTION public.threadline_action_id_v1(tx uuid, ordinal integer) RETURNS uuid
LANGUAGE sql IMMUTABLE
AS $$ SELECT md5(tx::pg_catalog.text || '/' || ordinal)::pg_catalog.uuid $$;

-- Where the row of the running transaction is, as a setting remembers it: its ctid, then the actor that was set when it was
-- looked at. The setting is never believed: whoever reads it looks at the row. NULL where it is no such mark.
CREATE OR REPLACE FUNCTION public.threadline_place_v1(mark text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$ SELECT pg_catalog.substring(mark, '^[(][0-9]{1,9},[0-9]{1,4}[)]') $$;

-- Whether a mark leads to the row of the running transaction, and the row needs nothing more: it has an actor if one is set,
-- and no commit marker yet, since the marker locks it. A row of one's own that is found by its ctid costs a SERIALIZABLE
-- transaction no predicate lock; the index page that everybody inserts into would.
CREATE OR REPLACE FUNCTION public.threadline_is_open_v1(tx uuid, setting text, mark text, required text) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    place CONSTANT pg_catalog.text := public.threadline_place_v1(mark);
BEGIN
    RETURN place || setting = mark AND EXISTS (
        SELECT FROM public.audit_transactions t
        WHERE t.ctid = place::pg_catalog.tid AND t.id = tx AND t.xmax = '0' AND (setting = '' OR t.actor_ref IS NOT NULL)
          AND (required IS NULL OR t.actor_ref ->> 'type' <> 'anonymous' OR required <> 'known' AND t.actor_ref IS NOT NULL));
END $$;

-- Makes sure that the transaction has its row, with the actor that is set, and that it may write to a table. Says where the row
-- is, with a '!' before it if it stays locked, because the transaction had a commit marker.
CREATE OR REPLACE FUNCTION public.threadline_enter_v1(
    tx uuid, setting text, required text, target_schema text, target_name text
) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    actor CONSTANT pg_catalog.jsonb := public.threadline_actor_v1(setting);
    first_action CONSTANT pg_catalog.text := public.threadline_place_v1(current_setting('threadline.actions', true));
    stored pg_catalog.jsonb;
    place pg_catalog.text;
    locked boolean := false;
    mark pg_catalog.text; -- assigned, because PERFORM costs a query
BEGIN
    INSERT INTO public.audit_transactions AS t
        (id, txid, occurred_at, source, meta, actor_ref, action_id, request_id, correlation_id, job_id,
         session_user_name, role_name, application_name, client_address)
    VALUES
        (tx, pg_current_xact_id(), clock_timestamp(), left(nullif(current_setting('threadline.source', true), ''), 255),
         public.threadline_meta_v1(current_setting('threadline.meta', true)), actor,
         -- The setting says only where to look.
         CASE WHEN first_action IS NOT NULL THEN (
             SELECT a.id FROM public.audit_actions a WHERE a.ctid = first_action::pg_catalog.tid AND a.transaction_id = tx) END,
         left(nullif(current_setting('threadline.request_id', true), ''), 255),
         left(nullif(current_setting('threadline.correlation_id', true), ''), 255),
         left(nullif(current_setting('threadline.job_id', true), ''), 255),
         session_user, nullif(current_setting('role'), 'none'), current_setting('application_name'), inet_client_addr())
    ON CONFLICT (id) DO NOTHING
    RETURNING t.ctid::pg_catalog.text, t.actor_ref INTO place, stored;
    IF NOT FOUND THEN
        SELECT t.ctid::pg_catalog.text, t.actor_ref, t.xmax <> '0' INTO place, stored, locked FROM public.audit_transactions t WHERE t.id = tx;
        IF locked OR stored IS NULL AND actor IS NOT NULL THEN
            -- The new version fires the trigger that writes a commit marker. It inherits the lock of an earlier marker, but not
            -- the xmax of a savepoint that was rolled back.
            UPDATE public.audit_transactions t SET actor_ref = coalesce(t.actor_ref, actor) WHERE t.id = tx
                RETURNING t.ctid::pg_catalog.text, t.actor_ref, t.xmax <> '0' INTO place, stored, locked;
        END IF;
    END IF;
    IF stored <> actor THEN
        RAISE EXCEPTION 'threadline: this transaction writes as % and can''t go on as %', stored, actor
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Commit first: a transaction has one actor.';
    ELSIF required IS NOT NULL THEN
        IF stored IS NULL OR required = 'known' AND stored ->> 'type' = 'anonymous' THEN
            RAISE EXCEPTION 'threadline: table %.% requires %', target_schema, target_name,
                CASE required WHEN 'known' THEN 'an actor who is known' ELSE 'an actor' END
                USING ERRCODE = 'insufficient_privilege',
                      HINT = 'Write inside threadline::transaction, or SELECT set_config(''threadline.actor_ref'', ''{"type": "user", "id": "42"}'', true) first.';
        END IF;
    END IF;
    mark := set_config('threadline.open', place || setting, true);
    RETURN CASE WHEN locked THEN '!' || place ELSE place END;
END $$;

-- Trigger functions that run as the owner of the log make sure of their table: a role that may execute them could attach them to
-- one of its own.

-- The commit marker. It is written when the transaction commits, so committed_at is within the commit itself. The row of the
-- transaction is locked then: what is captured after that, by other deferred triggers, finds it so and has a later marker written.
CREATE OR REPLACE FUNCTION public.threadline_seal_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    IF TG_RELID <> 'public.audit_transactions'::regclass AND pg_partition_root(TG_RELID) IS DISTINCT FROM 'public.audit_transactions'::regclass THEN
        RAISE EXCEPTION 'threadline: threadline_seal_v1 serves public.audit_transactions and no other table' USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- A version that was superseded has a successor, which fires this trigger too. xmax is also that of a rolled back one.
    IF NEW.xmax <> '0' THEN
        IF NOT EXISTS (SELECT FROM public.audit_transactions t WHERE t.ctid = NEW.ctid) THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO public.audit_commits (transaction_id, occurred_at, committed_at) VALUES (NEW.id, NEW.occurred_at, clock_timestamp());
    PERFORM FROM public.audit_transactions t WHERE t.ctid = NEW.ctid FOR UPDATE;
    RETURN NULL;
END $$;

-- Notices a commit marker that was written too early. When a transaction commits, this trigger fires after the one above; within
-- it only if SET CONSTRAINTS made both immediate, and the transaction goes on. Then they are deferred again, and a new version of
-- the transaction's row gets its marker at the commit. SET CONSTRAINTS goes by name, which is therefore the same.
CREATE OR REPLACE FUNCTION public.threadline_sealed_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    IF TG_RELID <> 'public.audit_commits'::regclass AND pg_partition_root(TG_RELID) IS DISTINCT FROM 'public.audit_commits'::regclass THEN
        RAISE EXCEPTION 'threadline: threadline_sealed_v1 serves public.audit_commits and no other table' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF pg_trigger_depth() > 1 THEN
        SET CONSTRAINTS public.threadline_seal DEFERRED;
        UPDATE public.audit_transactions SET id = id WHERE id = NEW.transaction_id;
    END IF;
    RETURN NULL;
END $$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_transactions'::regclass AND tgname = 'threadline_seal') THEN
        CREATE CONSTRAINT TRIGGER threadline_seal AFTER INSERT OR UPDATE ON public.audit_transactions
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.threadline_seal_v1();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_commits'::regclass AND tgname = 'threadline_seal') THEN
        CREATE CONSTRAINT TRIGGER threadline_seal AFTER INSERT ON public.audit_commits
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.threadline_sealed_v1();
    END IF;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_place_v1(text),
    public.threadline_is_open_v1(uuid, text, text, text),
    public.threadline_enter_v1(uuid, text, text, text, text),
    public.threadline_seal_v1(),
    public.threadline_sealed_v1()
FROM PUBLIC;

-- Actions: what the application did, and why.

SET LOCAL lock_timeout = '2s';

-- Whether the running transaction has its row: by its place, if the mark tells it, for the sake of SERIALIZABLE transactions.
CREATE OR REPLACE FUNCTION public.threadline_has_row_v1(tx uuid) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    place CONSTANT pg_catalog.text := public.threadline_place_v1(current_setting('threadline.open', true));
BEGIN
    IF place IS NOT NULL THEN
        IF EXISTS (SELECT FROM public.audit_transactions t WHERE t.ctid = place::pg_catalog.tid AND t.id = tx) THEN
            RETURN true;
        END IF;
    END IF;
    RETURN EXISTS (SELECT FROM public.audit_transactions t WHERE t.id = tx);
END $$;

-- The audited transaction that is running; NULL while nothing was captured.
CREATE OR REPLACE FUNCTION public.threadline_transaction_v1() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
DECLARE
    tx pg_catalog.uuid;
BEGIN
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        tx := public.threadline_transaction_id_v1();
        IF public.threadline_has_row_v1(tx) THEN
            RETURN tx;
        END IF;
    END IF;
    RETURN NULL;
END $$;

-- Records what the application did and why, and who says so. Its id is computed from the transaction and its number, so that a
-- transaction has at most 10,000. The setting threadline.actions remembers where the first one is, and how many there
-- are: without it, a number that is free has to be looked for.
CREATE OR REPLACE FUNCTION public.threadline_record_action_v1(
    name text, actor_ref jsonb DEFAULT NULL, status text DEFAULT 'ok', verb text DEFAULT NULL, category text DEFAULT NULL,
    reason text DEFAULT NULL, comment text DEFAULT NULL, correlation_id text DEFAULT NULL, request_id text DEFAULT NULL,
    job_id text DEFAULT NULL, requires_changes boolean DEFAULT false
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    tx CONSTANT pg_catalog.uuid := public.threadline_transaction_id_v1();
    actor CONSTANT pg_catalog.jsonb := coalesce(public.threadline_actor_v1(actor_ref::text), public.threadline_actor_v1(current_setting('threadline.actor_ref', true)));
    place pg_catalog.text := public.threadline_place_v1(current_setting('threadline.actions', true));
    ordinal integer := coalesce(substring(current_setting('threadline.actions', true), '^[(][0-9,]+[)]([0-9]{1,5})$')::integer, 0);
    step integer := 1;
    action pg_catalog.uuid;
    transaction_place pg_catalog.text;
BEGIN
    IF coalesce(length(name), 0) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'threadline: an action needs a name of 1 to 255 characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF status IS NULL OR status NOT IN ('ok', 'error') THEN
        RAISE EXCEPTION 'threadline: the status of action % is ok or error, not %', name, left(status, 20) USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOOP
        ordinal := ordinal + step;
        IF ordinal > 10000 THEN
            RAISE EXCEPTION 'threadline: action % is one too many: a transaction records up to 10,000', name
                USING ERRCODE = 'program_limit_exceeded', HINT = 'Commit, and go on in another transaction.';
        END IF;
        action := public.threadline_action_id_v1(tx, ordinal);
        INSERT INTO public.audit_actions AS a
            (id, transaction_id, name, actor_ref, status, verb, category, reason, comment,
             correlation_id, request_id, job_id, requires_changes, inserted_at, session_user_name, role_name)
        VALUES
            (action, tx, $1, actor, $3, left($4, 255), left($5, 255), left($6, 4096), left($7, 65536),
             left(coalesce($8, nullif(current_setting('threadline.correlation_id', true), '')), 255),
             left(coalesce($9, nullif(current_setting('threadline.request_id', true), '')), 255),
             left(coalesce($10, nullif(current_setting('threadline.job_id', true), '')), 255),
             coalesce($11, false), clock_timestamp(), session_user, nullif(current_setting('role'), 'none'))
        ON CONFLICT (id) DO NOTHING
        RETURNING CASE ordinal WHEN 1 THEN a.ctid::text ELSE coalesce(place, a.ctid::text) END INTO place;
        EXIT WHEN FOUND;
        step := step * 2;
    END LOOP;
    PERFORM set_config('threadline.actions', place || ordinal, true);
    IF ordinal = 1 THEN
        -- The transaction's row names its first action. One that comes later does so by itself.
        transaction_place := public.threadline_place_v1(current_setting('threadline.open', true));
        IF transaction_place IS NOT NULL THEN
            UPDATE public.audit_transactions t SET action_id = action
                WHERE t.ctid = transaction_place::tid AND t.id = tx AND t.action_id IS NULL
                RETURNING t.ctid::text INTO transaction_place;
            IF FOUND THEN
                PERFORM set_config('threadline.open',
                    transaction_place || regexp_replace(current_setting('threadline.open'), '^[(][0-9,]+[)]', ''), true);
            END IF;
        END IF;
    END IF;
    RETURN action;
END $$;

-- An action that asked for the link fails its transaction when there is nothing to link to.
CREATE OR REPLACE FUNCTION public.threadline_require_changes_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
BEGIN
    IF TG_RELID <> 'public.audit_actions'::regclass AND pg_partition_root(TG_RELID) IS DISTINCT FROM 'public.audit_actions'::regclass THEN
        RAISE EXCEPTION 'threadline: threadline_require_changes_v1 serves public.audit_actions and no other table' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT public.threadline_has_row_v1(NEW.transaction_id) THEN
        RAISE EXCEPTION 'threadline: action % requires changes, and its transaction captured none', NEW.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Write to an audited table in the same transaction, or record the action without requiring changes.';
    END IF;
    RETURN NULL;
END $$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_actions'::regclass AND tgname = 'threadline_require_changes') THEN
        CREATE CONSTRAINT TRIGGER threadline_require_changes AFTER INSERT ON public.audit_actions
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.requires_changes)
            EXECUTE FUNCTION public.threadline_require_changes_v1();
    END IF;
END $$;

REVOKE ALL ON FUNCTION public.threadline_has_row_v1(uuid), public.threadline_require_changes_v1() FROM PUBLIC;

-- The recorder: what a row change leaves in audit_changes.
--
-- `rules` say how a table is captured, as data; what doesn't apply is absent:
--   table_id, table_schema, table_name
--   key             the key columns, in order; key_column if it is only one
--   exclude, mask, except_columns, ignore_only, on_change, store_changed_from, require_actor, truncate, level
--                   the policy; mask gives every masked column its placeholder
--   redacted        the columns that are excluded or masked
--   as_text         columns that are stored as their text, since JSON would lose some of it
--   inexact         there are columns that can change without their JSON form changing
--   key_deferrable  two rows may live under one key for a while
--   max_value_bytes what is larger is left out

SET LOCAL lock_timeout = '2s';

-- An image with the placeholders of masked columns that have a value. Without a query, which auto_explain could log with the
-- values that are kept out: so it is wherever images go.
CREATE OR REPLACE FUNCTION public.threadline_masked_v1(image jsonb, mask jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    field pg_catalog.text;
BEGIN
    IF image IS NOT NULL AND mask IS NOT NULL THEN
        FOREACH field IN ARRAY ARRAY(SELECT jsonb_object_keys(mask)) LOOP
            IF image -> field <> 'null' THEN
                image := image || jsonb_build_object(field, mask -> field);
            END IF;
        END LOOP;
    END IF;
    RETURN image;
END $$;

-- Whether a value of an image is, or holds, an object with the member that marks what stands in place of a value. The
-- application's own has to be quoted: see threadline_quoted_v1. Inlined.
CREATE OR REPLACE FUNCTION public.threadline_is_marked_v1(image jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$ SELECT coalesce(image @? '$.*."$threadline"', false) $$;

-- A list of the rules; '{}' where there is none.
CREATE OR REPLACE FUNCTION public.threadline_list_v1(rules jsonb, name text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF rules ? name THEN
        RETURN ARRAY(SELECT jsonb_array_elements_text(rules -> name));
    END IF;
    RETURN '{}';
END $$;

-- The key of a row: every key column as text, under its name.
CREATE OR REPLACE FUNCTION public.threadline_key_of_v1(rules jsonb, image jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    pk pg_catalog.jsonb := '{}';
    field pg_catalog.text;
BEGIN
    FOREACH field IN ARRAY public.threadline_list_v1(rules, 'key') LOOP
        pk := pk || jsonb_build_object(field, image ->> field);
    END LOOP;
    IF jsonb_strip_nulls(pk) <> pk THEN
        RAISE EXCEPTION 'threadline: table %.% has no value in its key columns %', rules ->> 'table_schema', rules ->> 'table_name', public.threadline_list_v1(rules, 'key')
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'A key column was renamed or dropped: say so in the model (formerly = "old name"), run `threadline generate` and the new migration.';
    END IF;
    RETURN pk;
END $$;

-- The same, without a call where the key is a single column. STABLE, as jsonb_build_object is: else it is not inlined.
CREATE OR REPLACE FUNCTION public.threadline_key_v1(rules jsonb, key_column text, image jsonb) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN image ->> key_column IS NULL THEN public.threadline_key_of_v1(rules, image)
                ELSE jsonb_build_object(key_column, image ->> key_column) END
$$;

-- Records one row change from its two whole images, and says what is left to do:
--   NULL     nothing was recorded: the images don't show everything, so look at the rows, and pass careful ones and what changed
--   ''       nothing
--   'left'   a row left its key, and another may live under it
--   'kept'   the new version was locked or superseded: `version_xmax`
-- `relation`, its schema and name are what fired the trigger, `operation` and `trigger_when` are those of the trigger; without
-- one, `relation` and `trigger_when` are NULL. `changed` are columns that changed although their images may not show it; if the
-- images are careful, all that changed. `columns` are those of the table in the order of their names, as far as they are known. `careful` says
-- that the images were made column by column where they had to be.
--
-- PL/pgSQL initialises every simple expression once per transaction, so few large expressions beat many small ones. Values are
-- computed into variables first: expressions inside the INSERT are set up at each execution. Arguments of calls have exactly
-- the types of the parameters, so that no other function of the name is a better match.
CREATE OR REPLACE FUNCTION public.threadline_record_v1(
    rules jsonb, relation oid, relation_schema text, relation_name text, operation text, trigger_when text,
    columns text[], before jsonb, after jsonb, changed text[], careful boolean, version_xmax xid
) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    target CONSTANT integer := rules -> 'table_id';
    key_column CONSTANT pg_catalog.text := rules ->> 'key_column';
    setting CONSTANT pg_catalog.text := coalesce(current_setting('threadline.actor_ref', true), '');
    mark CONSTANT pg_catalog.text := current_setting('threadline.open', true);
    place pg_catalog.text := public.threadline_place_v1(mark);
    spot pg_catalog.tid;
    locked boolean := false;
    pk pg_catalog.jsonb;
    prior pg_catalog.jsonb;
    field pg_catalog.text;
    seen pg_catalog.text[];
    hidden pg_catalog.text[];
    required pg_catalog.text;
    unattributed boolean;
    tx pg_catalog.uuid;
BEGIN
    IF relation_name <> rules ->> 'table_name' OR relation_schema <> rules ->> 'table_schema' OR operation = 'TRUNCATE'
        OR current_setting('threadline.capture', true) = 'off'
    THEN
        IF NOT careful THEN
            IF NOT public.threadline_admit_v1(rules, relation, relation_schema, relation_name, operation, trigger_when) THEN
                RETURN '';
            END IF;
        END IF;
        relation_schema := rules ->> 'table_schema';
        relation_name := rules ->> 'table_name';
    END IF;
    IF NOT careful AND (coalesce(greatest(pg_column_size(before), pg_column_size(after)) > (rules -> 'max_value_bytes')::integer, true)
        OR public.threadline_is_marked_v1(coalesce(after, before)))
    THEN
        RETURN NULL;
    END IF;
    pk := CASE WHEN operation = 'TRUNCATE' THEN '{}'::pg_catalog.jsonb ELSE public.threadline_key_v1(rules, key_column, coalesce(before, after)) END;
    IF operation = 'UPDATE' THEN
        IF pk <> public.threadline_key_v1(rules, key_column, after) THEN
            IF NOT careful AND public.threadline_is_marked_v1(before) THEN
                RETURN NULL;
            END IF;
            field := public.threadline_record_v1(rules, relation, relation_schema, relation_name, 'DELETE'::pg_catalog.text, NULL::pg_catalog.text,
                columns, before, NULL::pg_catalog.jsonb, NULL::pg_catalog.text[], true, NULL::pg_catalog.xid);
            field := public.threadline_record_v1(rules, relation, relation_schema, relation_name, 'INSERT'::pg_catalog.text, NULL::pg_catalog.text,
                columns, NULL::pg_catalog.jsonb, after, NULL::pg_catalog.text[], true, NULL::pg_catalog.xid);
            RETURN 'left';
        END IF;
        prior := '{}'::pg_catalog.jsonb;
        IF NOT careful THEN
            seen := changed;
            changed := NULL;
            -- A loop: a query over jsonb_each_text() takes three times as long.
            FOREACH field IN ARRAY columns LOOP
                IF before ->> field IS DISTINCT FROM after ->> field OR field = ANY (seen) THEN
                    changed := changed || field;
                    prior := prior || jsonb_build_object(field, before -> field);
                END IF;
            END LOOP;
        ELSE
            FOREACH field IN ARRAY changed LOOP
                prior := prior || jsonb_build_object(field, before -> field);
            END LOOP;
        END IF;
        -- The text of a jsonb value doesn't tell 1 from "1", and there may be columns that are not known yet.
        IF NOT careful AND (changed IS NULL OR after || prior <> before OR public.threadline_is_marked_v1(prior)) THEN
            RETURN NULL;
        END IF;
        before := prior;
    END IF;
    IF rules ?| '{exclude,redacted,except_columns,ignore_only}' THEN
        IF relation IS NOT NULL AND coalesce(after, before) - columns <> '{}' AND rules ? 'redacted' THEN
            PERFORM public.threadline_verify_columns_v1(relation, rules, public.threadline_columns_of_v1(coalesce(after, before)), columns);
        END IF;
        hidden := public.threadline_list_v1(rules, 'exclude'::pg_catalog.text);
        IF changed <> '{}' AND changed <@ (hidden || public.threadline_list_v1(rules, 'ignore_only'::pg_catalog.text)) THEN
            RETURN '';
        END IF;
        after := public.threadline_masked_v1(after - hidden, rules -> 'mask');
        hidden := hidden || public.threadline_list_v1(rules, 'except_columns'::pg_catalog.text);
        changed := CASE operation WHEN 'UPDATE' THEN ARRAY(SELECT f FROM unnest(changed) f WHERE f <> ALL (hidden) ORDER BY f COLLATE "C") END;
        before := public.threadline_masked_v1(before - hidden, rules -> 'mask');
    END IF;
    IF NOT rules ? 'store_changed_from' THEN
        before := NULL;
    END IF;

    tx := public.threadline_transaction_id_v1();
    required := rules ->> 'require_actor';
    unattributed := setting = '' AND required IS NULL;
    IF place || setting = mark THEN
        spot := place::pg_catalog.tid;
    END IF;
    FOR attempt IN 1..4 LOOP
        IF attempt > 1 OR spot IS NULL THEN
            -- Twice where SET CONSTRAINTS made constraints immediate: then the commit marker comes with the row, and renews it.
            place := public.threadline_enter_v1(tx, setting, required, relation_schema, relation_name);
            spot := ltrim(place, '!')::pg_catalog.tid;
            locked := place LIKE '!%';
        END IF;
        -- A change is inserted only together with a look at the row of its transaction; see threadline_is_open_v1.
        INSERT INTO public.audit_changes
            (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk,
             data_after, changed_fields, changed_from)
        SELECT
            nextval('public.audit_changes_id_seq'), hashtextextended(pk::pg_catalog.text, 0), clock_timestamp(), tx, target,
            relation_schema, relation_name, lower(operation COLLATE pg_catalog."C"), pk, after, changed, before
        FROM public.audit_transactions t
        WHERE t.ctid = spot AND t.id = tx AND (t.xmax = '0' OR locked)
          AND (unattributed OR t.actor_ref IS NOT NULL) AND (required IS DISTINCT FROM 'known' OR t.actor_ref ->> 'type' <> 'anonymous');
        IF FOUND THEN
            -- The counters are PostgreSQL's own. They may show too much, but never too little: a key is taken again by an INSERT or
            -- an UPDATE of this transaction.
            RETURN CASE WHEN version_xmax <> '0' THEN 'kept'
                WHEN operation = 'DELETE' AND (
                    pg_stat_get_xact_tuples_inserted(relation) + pg_stat_get_xact_tuples_updated(relation) > 0
                    OR trigger_when IS NOT NULL AND current_setting('track_counts') = 'off') THEN 'left'
                ELSE '' END;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'threadline: the row of transaction % is not to be found', tx
        USING ERRCODE = 'internal_error', HINT = 'Is there a trigger or a rule on public.audit_transactions that is not Threadline''s?';
END $$;

-- The names of an image's columns.
CREATE OR REPLACE FUNCTION public.threadline_columns_of_v1(image jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET plan_cache_mode = force_generic_plan
AS $$ BEGIN RETURN ARRAY(SELECT jsonb_object_keys(image)); END $$;

-- The columns that are stored only when they change, and did not; none if the key changed.
CREATE OR REPLACE FUNCTION public.threadline_unchanged_v1(rules jsonb, changed text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE
AS $$
    SELECT ARRAY(SELECT u FROM jsonb_array_elements_text(rules -> 'on_change') u
                 WHERE u <> ALL (changed) AND NOT rules -> 'key' ?| changed)
$$;

-- Records many row changes of one statement: what threadline_record_v1 does, for arrays of images and of the places that the rows
-- have in it. `changes` has columns that changed although the images may not show it. An UPDATE of a key is recorded as the delete under the
-- old key; its other half by the operation 'MOVE', once all old keys are free. Returns whether a key changed, and the places
-- of the rows that were left out because their images don't show what changed.
CREATE OR REPLACE FUNCTION public.threadline_record_rows_v1(
    rules jsonb, operation text, places bigint[], before jsonb[], after jsonb[], changes jsonb[], OUT moved boolean, OUT inexact bigint[]
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan -- planning takes longer than recording a few rows, and a plan with values could be logged
AS $$
DECLARE
    target CONSTANT integer := rules -> 'table_id';
    target_schema CONSTANT pg_catalog.text := rules ->> 'table_schema';
    target_name CONSTANT pg_catalog.text := rules ->> 'table_name';
    key_column CONSTANT pg_catalog.text := rules ->> 'key_column';
    exclude CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'exclude'::pg_catalog.text);
    hidden CONSTANT pg_catalog.text[] := exclude || public.threadline_list_v1(rules, 'except_columns'::pg_catalog.text);
    ignored CONSTANT pg_catalog.text[] := exclude || public.threadline_list_v1(rules, 'ignore_only'::pg_catalog.text);
    store_changed_from CONSTANT boolean := rules ? 'store_changed_from';
    mask CONSTANT pg_catalog.jsonb := rules -> 'mask';
    tx CONSTANT pg_catalog.uuid := public.threadline_transaction_id_v1();
    setting CONSTANT pg_catalog.text := coalesce(current_setting('threadline.actor_ref', true), '');
    required CONSTANT pg_catalog.text := rules ->> 'require_actor';
    place pg_catalog.text;
BEGIN
    IF public.threadline_is_open_v1(tx, setting, current_setting('threadline.open', true), required) IS NOT TRUE THEN
        place := public.threadline_enter_v1(tx, setting, required, target_schema, target_name);
    END IF;
    WITH change AS MATERIALIZED (
        SELECT k.place, k.op, CASE k.op WHEN 'insert' THEN k.new_key ELSE k.old_key END AS pk,
            k.after,
            CASE k.op WHEN 'update' THEN ARRAY(SELECT f FROM unnest(d.changed) f WHERE f <> ALL (hidden)) END AS changed,
            CASE k.op WHEN 'update' THEN coalesce(d.prior, '{}') ELSE k.before END AS prior,
            k.op = 'update' AND d.changed <> '{}' AND d.changed <@ ignored AS unseen,
            -- The text of a jsonb value doesn't tell 1 from "1": where the images don't show it, the rows have to.
            k.op = 'update' AND (d.changed IS NULL OR k.before - d.changed <> k.after - d.changed) AS inexact
        FROM (
            SELECT i.*, CASE WHEN operation IN ('INSERT', 'MOVE') THEN 'insert'
                WHEN operation = 'UPDATE' AND i.old_key = i.new_key THEN 'update' ELSE 'delete' END AS op
            FROM (
                SELECT p.place, p.before, p.after, p.changed,
                    CASE WHEN p.before IS NOT NULL THEN public.threadline_key_v1(rules, key_column, p.before) END AS old_key,
                    CASE WHEN p.after IS NOT NULL THEN public.threadline_key_v1(rules, key_column, p.after) END AS new_key
                FROM unnest(places, before, after, changes) p(place, before, after, changed)
                OFFSET 0) i
            WHERE operation <> 'MOVE' OR i.old_key <> i.new_key
            OFFSET 0) k
        LEFT JOIN LATERAL (
            SELECT array_agg(f ORDER BY f COLLATE "C") AS changed, jsonb_object_agg(f, k.before -> f) AS prior
            FROM (SELECT e.key AS f FROM jsonb_each_text(CASE k.op WHEN 'update' THEN k.before END) e
                  WHERE k.after ->> e.key IS DISTINCT FROM e.value
                  UNION SELECT jsonb_array_elements_text(k.changed)) e) d ON k.op = 'update'),
    recorded AS (
        INSERT INTO public.audit_changes
            (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk,
             data_after, changed_fields, changed_from)
        SELECT nextval('public.audit_changes_id_seq'), hashtextextended(c.pk::pg_catalog.text, 0), clock_timestamp(), tx, target,
            target_schema, target_name, c.op, c.pk,
            CASE WHEN c.op = 'delete' THEN NULL
                WHEN mask IS NULL THEN c.after - exclude ELSE public.threadline_masked_v1(c.after - exclude, mask) END,
            c.changed,
            CASE WHEN c.op = 'insert' OR NOT store_changed_from THEN NULL
                WHEN mask IS NULL THEN c.prior - hidden ELSE public.threadline_masked_v1(c.prior - hidden, mask) END
        FROM change c
        WHERE NOT coalesce(c.unseen, false) AND NOT c.inexact
        RETURNING op)
    SELECT operation = 'UPDATE' AND coalesce((SELECT bool_or(r.op = 'delete') FROM recorded r), false),
        ARRAY(SELECT c.place FROM change c WHERE c.inexact)
        INTO moved, inexact;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_record_v1(jsonb, oid, text, text, text, text, text[], jsonb, jsonb, text[], boolean, xid),
    public.threadline_record_rows_v1(jsonb, text, bigint[], jsonb[], jsonb[], jsonb[])
FROM PUBLIC;

-- What the trigger functions of audited tables lean on: their rows as images, and the rows that have to be read again.

-- A capture function only serves its own table and that table's partitions.
CREATE OR REPLACE FUNCTION public.threadline_verify_v1(relation oid, target_schema text, target_name text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = pg_catalog.pg_partition_root(relation) AND n.nspname = target_schema AND c.relname = target_name
    ) THEN
        RAISE EXCEPTION 'threadline: table % is captured as %.%', relation::regclass, target_schema, target_name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('If it was renamed, say so in the model (formerly = "%s"), run `threadline generate` and the new migration.', target_name);
    END IF;
END $$;

-- Whether a trigger goes on to record: not for TRUNCATE, which is dealt with here, nor where capture is switched off.
CREATE OR REPLACE FUNCTION public.threadline_admit_v1(
    rules jsonb, relation oid, relation_schema text, relation_name text, operation text, trigger_when text
) RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    IF relation_name <> rules ->> 'table_name' OR relation_schema <> rules ->> 'table_schema' THEN
        PERFORM public.threadline_verify_v1(relation, rules ->> 'table_schema', rules ->> 'table_name');
    END IF;
    IF current_setting('threadline.capture', true) = 'off' THEN
        PERFORM public.threadline_bypass_v1((rules -> 'table_id')::integer, rules ->> 'table_schema', rules ->> 'table_name');
        RETURN false;
    ELSIF operation = 'TRUNCATE' THEN
        PERFORM public.threadline_truncate_v1(rules, relation::pg_catalog.regclass, trigger_when);
        RETURN false;
    END IF;
    RETURN true;
END $$;

-- A table with redaction has a column that nobody knew when it was captured. If a redacted one was renamed, it would be stored in
-- the clear: PostgreSQL keeps its number. Where numbers tell nothing, as in a restored copy, one that is gone counts as renamed.
-- Or the new column may be computed from a redacted one.
CREATE OR REPLACE FUNCTION public.threadline_verify_columns_v1(
    relation oid, rules jsonb, present text[], known_columns text[]
) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    redacted CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'redacted'::pg_catalog.text);
    root CONSTANT pg_catalog.oid := coalesce(pg_partition_root(relation::pg_catalog.regclass), relation::pg_catalog.regclass);
    target CONSTANT integer := rules -> 'table_id';
    was CONSTANT pg_catalog.jsonb := (SELECT t.identity FROM public.audit_tables t WHERE t.id = target);
    is_same CONSTANT boolean := coalesce((was -> 'log')::bigint = 'public.audit_changes'::pg_catalog.regclass::pg_catalog.oid::bigint
        AND was ->> 'cluster' = (SELECT s.system_identifier::pg_catalog.text FROM pg_control_system() s) AND (was -> 'relation')::bigint = root::bigint, false);
    missing pg_catalog.text;
BEGIN
    SELECT string_agg(r, ', ' ORDER BY r) INTO missing FROM unnest(redacted) r
    WHERE CASE WHEN is_same AND was -> 'columns' ? r THEN EXISTS (
            SELECT FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = root AND a.attnum = (was -> 'columns' -> r -> 0)::integer AND NOT a.attisdropped AND a.attname::pg_catalog.text <> ALL (redacted))
        ELSE r <> ALL (present) END;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'threadline: table %.% lost its redacted column % and has an unknown column %', rules ->> 'table_schema', rules ->> 'table_name', missing,
            (SELECT string_agg(c, ', ' ORDER BY c) FROM unnest(present) c WHERE c <> ALL (known_columns))
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Redact the column under its new name, run `threadline generate` and the new migration.';
    END IF;
    PERFORM public.threadline_check_redaction_v1(relation::pg_catalog.regclass, redacted, '{}'::pg_catalog.text[]);
END $$;

-- A json value as jsonb, from its text; what jsonb can't hold as a string: `fallback`.
CREATE OR REPLACE FUNCTION public.threadline_json_v1(value text, fallback text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    RETURN value::pg_catalog.jsonb;
EXCEPTION WHEN OTHERS THEN
    RETURN to_jsonb(fallback);
END $$;

-- A value of the application as it stands in an image. One that could be taken for what stands in place of a value, an object
-- with the member $threadline, is quoted: {"$threadline": "value", "value": ...}.
CREATE OR REPLACE FUNCTION public.threadline_quoted_v1(value jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    RETURN CASE WHEN jsonb_typeof(value) = 'object' AND value ? '$threadline'
        THEN jsonb_build_object('$threadline', 'value', 'value', value) ELSE value END;
END $$;

-- A type and all that it is made of: elements, columns, what a domain is over.
CREATE OR REPLACE FUNCTION public.threadline_type_parts_v1(type oid) RETURNS SETOF oid
LANGUAGE sql STABLE
AS $$
    WITH RECURSIVE part(oid) AS (
        SELECT type
        UNION
        SELECT inner_type FROM part JOIN pg_catalog.pg_type t ON t.oid = part.oid
        LEFT JOIN pg_catalog.pg_attribute a ON t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        CROSS JOIN LATERAL unnest(ARRAY[nullif(t.typelem, 0), nullif(t.typbasetype, 0), a.atttypid]) inner_type
        WHERE inner_type IS NOT NULL
    )
    SELECT part.oid FROM part
$$;

-- The image of a row whatever is in it, as an SQL expression over a row that is called `source`, without the columns `skip`: a
-- value above the limit is left out, one that could be taken for that is quoted, a json value that jsonb can't hold is kept as text. Of an excluded or masked column only
-- whether it has a value is looked at, since the digest of one would give it away. No code of a type's owner is called:
-- concat() prints with the type's output function, where a cast to text or json may be anybody's.
CREATE OR REPLACE FUNCTION public.threadline_image_sql_v1(relation oid, rules jsonb, source text, skip text[]) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    max_value_bytes CONSTANT integer := rules -> 'max_value_bytes';
    hidden CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'redacted'::pg_catalog.text);
    as_text CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'as_text'::pg_catalog.text);
    omitted CONSTANT pg_catalog.text := 'pg_catalog.jsonb_build_object(''$threadline'', ''omitted'', ''bytes'', pg_catalog.octet_length(%1$s), ''sha256'', pg_catalog.encode(pg_catalog.sha256(%2$s), ''hex''))';
    field pg_catalog.record;
    value pg_catalog.text;
    printed pg_catalog.text;
    image pg_catalog.text;
BEGIN
    FOR field IN
        SELECT a.attname::pg_catalog.text AS name, format('%s.%I', source, a.attname) AS value, a.attlen = -1 AS variable,
            CASE f.typtype WHEN 'd' THEN public.threadline_base_type_v1(f.oid) ELSE f.oid END = ANY ('{text,varchar}'::pg_catalog.regtype[]) AS is_text,
            f.typoutput = 'pg_catalog.byteaout'::pg_catalog.regproc AS binary, -- a domain prints as the type that it is made of
            f.oid < 16384 AND f.typelem = 0 AND f.oid <> 'pg_catalog.jsonb'::pg_catalog.regtype AS scalar,
            -- PostgreSQL's own types that are made of no other have no cast of anybody's: the usual case, and quick.
            CASE WHEN f.oid < 16384 AND f.typelem = 0 THEN false ELSE public.threadline_as_text_v1(f.oid) END AS as_text,
            CASE WHEN f.oid < 16384 AND f.typelem = 0 THEN f.oid = 'pg_catalog.json'::pg_catalog.regtype ELSE 'pg_catalog.json'::pg_catalog.regtype IN (SELECT public.threadline_type_parts_v1(f.oid)) END AS json
        FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type f ON f.oid = a.atttypid
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (skip)
        ORDER BY a.attnum
    LOOP
        printed := CASE WHEN field.is_text THEN field.value ELSE format('CASE WHEN %1$s IS DISTINCT FROM NULL THEN pg_catalog.concat(%1$s) END', field.value) END;
        IF field.name = ANY (hidden) THEN
            value := format('CASE WHEN %s IS DISTINCT FROM NULL THEN ''""''::pg_catalog.jsonb END', field.value);
        ELSIF field.as_text OR field.name = ANY (as_text) THEN
            value := format('pg_catalog.to_jsonb(%s)', printed);
        ELSIF field.json THEN
            value := format('public.threadline_quoted_v1(public.threadline_json_v1(pg_catalog.to_json(%s)::pg_catalog.text, %s))', field.value, printed);
        ELSE
            value := format(CASE WHEN field.scalar THEN 'pg_catalog.to_jsonb(%s)' ELSE 'public.threadline_quoted_v1(pg_catalog.to_jsonb(%s))' END, field.value);
        END IF;
        IF field.variable AND field.name <> ALL (hidden) THEN
            value := format('CASE WHEN pg_catalog.octet_length(%1$s) > %2$s THEN %3$s ELSE %4$s END',
                CASE WHEN field.binary THEN field.value ELSE printed END, max_value_bytes,
                CASE WHEN field.binary THEN format(omitted, field.value, field.value)
                    ELSE format(omitted, printed, format('pg_catalog.convert_to(%s, pg_catalog.getdatabaseencoding())', printed)) END,
                value);
        END IF;
        image := concat_ws(', ', image, format('(%L, %s)', field.name, value));
    END LOOP;
    RETURN CASE WHEN image IS NULL THEN quote_literal('{}') || '::pg_catalog.jsonb'
        ELSE format('(SELECT pg_catalog.jsonb_object_agg(f.name, f.value) FROM (VALUES %s) f(name, value))', image) END;
END $$;

-- The images of $1 and $2, two versions of a row of this relation, as a query; see threadline_image_sql_v1. The rows are named once: the
-- plan has a copy of a parameter for each place where it stands.
CREATE OR REPLACE FUNCTION public.threadline_images_query_v1(relation oid, rules jsonb, operation text, skip text[]) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN format('SELECT %s, %s FROM (SELECT %s OFFSET 0) p',
        CASE WHEN operation = 'INSERT' THEN 'NULL::pg_catalog.jsonb' ELSE public.threadline_image_sql_v1(relation, rules, '(p.o)'::pg_catalog.text, skip) END,
        CASE WHEN operation = 'DELETE' THEN 'NULL::pg_catalog.jsonb' ELSE public.threadline_image_sql_v1(relation, rules, '(p.n)'::pg_catalog.text, skip) END,
        CASE operation WHEN 'INSERT' THEN '$2 AS n' WHEN 'DELETE' THEN '$1 AS o' ELSE '$1 AS o, $2 AS n' END);
END $$;

-- The columns in which two versions of a row differ, to the last bit, as an SQL expression over two rows.
CREATE OR REPLACE FUNCTION public.threadline_differences_sql_v1(relation oid, old_row text, new_row text) RETURNS text
LANGUAGE sql STABLE
AS $$
    -- record_image_ne(), because the operator between ROW(...) and ROW(...) asks for those of the columns' types.
    SELECT format('pg_catalog.array_remove(ARRAY[%s]::pg_catalog.text[], NULL)', string_agg(format(
        'CASE WHEN pg_catalog.record_image_ne(ROW(%2$s.%1$I), ROW(%3$s.%1$I)) THEN %1$L END', a.attname, old_row, new_row), ', ' ORDER BY a.attname COLLATE "C"))
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
$$;

-- The type that a domain is made of, through domains over domains.
CREATE OR REPLACE FUNCTION public.threadline_base_type_v1(type oid) RETURNS oid
LANGUAGE sql STABLE
AS $$
    WITH RECURSIVE base(oid) AS (
        SELECT type UNION ALL SELECT t.typbasetype FROM base JOIN pg_catalog.pg_type t ON t.oid = base.oid WHERE t.typtype = 'd')
    SELECT b.oid FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid WHERE t.typtype <> 'd'
$$;

-- The condition that a row `r` has this key, as SQL. The key's values are of the types that domains are made of: a domain's
-- check would run here.
CREATE OR REPLACE FUNCTION public.threadline_key_condition_v1(relation oid, rules jsonb, pk jsonb) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT string_agg(format('r.%I = %L::%s', a.attname, pk ->> a.attname::pg_catalog.text,
        format_type(public.threadline_base_type_v1(a.atttypid), CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END)), ' AND ')
    FROM jsonb_array_elements_text(rules -> 'key') k
    JOIN pg_catalog.pg_attribute a ON a.attrelid = relation AND a.attname = k AND NOT a.attisdropped
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
$$;

-- Whether the log's owner may look at a table without an error, and without rows being hidden from it.
CREATE OR REPLACE FUNCTION public.threadline_may_read_v1(relation oid) RETURNS boolean
LANGUAGE sql STABLE
AS $$ SELECT has_table_privilege(relation, 'SELECT') AND NOT row_security_active(relation) $$;

-- The image of the row that lives under a key now; NULL if there is none. A row that row level security hides would seem gone:
-- with row_security off, reading it is an error instead. Only here, since plans that depend on it are made anew when it changes.
CREATE OR REPLACE FUNCTION public.threadline_current_image_v1(rules jsonb, pk jsonb) RETURNS jsonb
LANGUAGE plpgsql SET row_security = off
AS $$
DECLARE
    target CONSTANT pg_catalog.regclass := format('%I.%I', rules ->> 'table_schema', rules ->> 'table_name');
    image pg_catalog.jsonb;
BEGIN
    EXECUTE format('SELECT %s FROM %s r WHERE %s',
        public.threadline_image_sql_v1(target::pg_catalog.oid, rules, 'r'::pg_catalog.text, '{}'::pg_catalog.text[]), target,
        public.threadline_key_condition_v1(target::pg_catalog.oid, rules, pk)) INTO image;
    RETURN image;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'threadline: role %, which owns the log, can''t read table % again after another command wrote to it: %', current_user, target, SQLERRM
        USING ERRCODE = 'insufficient_privilege',
              HINT = format('GRANT SELECT ON %1$s TO %2$I; where row level security is enabled, also ALTER ROLE %2$I BYPASSRLS.', target, current_user);
END $$;

-- Looks at the row that lives under the key of `key_image` now, and records it if it isn't what was `recorded`, the image of
-- the newest change about the row; NULL if that says that the row is gone.
CREATE OR REPLACE FUNCTION public.threadline_recheck_v1(rules jsonb, key_image jsonb, recorded jsonb) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    redacted CONSTANT pg_catalog.text[] := public.threadline_list_v1(rules, 'redacted'::pg_catalog.text);
    known CONSTANT pg_catalog.jsonb := recorded - public.threadline_list_v1(rules, 'on_change'::pg_catalog.text);
    live CONSTANT pg_catalog.jsonb := public.threadline_current_image_v1(rules, public.threadline_key_of_v1(rules, key_image));
    operation CONSTANT pg_catalog.text := CASE WHEN live IS NULL THEN 'DELETE' WHEN recorded IS NULL THEN 'INSERT' ELSE 'UPDATE' END;
    field pg_catalog.text;
    changed pg_catalog.text[];
BEGIN
    IF operation = 'UPDATE' THEN
        FOREACH field IN ARRAY public.threadline_columns_of_v1(live) LOOP
            IF field <> ALL (redacted) AND (live ->> field IS DISTINCT FROM known ->> field OR live -> field IS DISTINCT FROM known -> field) THEN
                changed := changed || field;
            END IF;
        END LOOP;
        IF changed IS NULL THEN
            RETURN '';
        END IF;
    ELSIF live IS NULL AND recorded IS NULL THEN
        RETURN '';
    END IF;
    RETURN public.threadline_record_v1(rules, NULL::pg_catalog.oid, rules ->> 'table_schema', rules ->> 'table_name', operation, NULL::pg_catalog.text,
        NULL::pg_catalog.text[], recorded, live, changed, true, NULL::pg_catalog.xid);
END $$;

-- What a statement trigger asks of its rows, as SQL, because only the trigger's own queries see them:
--   gone   rechecks the keys that rows left and that somebody lives under
--   kept   rechecks the rows that are not what lives under their key
CREATE OR REPLACE FUNCTION public.threadline_rows_query_v1(purpose text, operation text, rules jsonb) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    target CONSTANT pg_catalog.regclass := format('%I.%I', rules ->> 'table_schema', rules ->> 'table_name');
    deleted CONSTANT pg_catalog.text := format('SELECT NULL::%1$s AS n, "!old"::%1$s AS o FROM old_rows "!old"', target);
    inserted CONSTANT pg_catalog.text := format('SELECT "!new"::%1$s AS n, NULL::%1$s AS o FROM new_rows "!new"', target);
    updated CONSTANT pg_catalog.text := format('SELECT n.n, o.o FROM (SELECT row_number() OVER () AS i, "!old"::%1$s AS o FROM old_rows "!old") o
        FULL JOIN (SELECT row_number() OVER () AS i, "!new"::%1$s AS n FROM new_rows "!new") n USING (i)', target);
    source CONSTANT pg_catalog.text := CASE operation WHEN 'INSERT' THEN inserted WHEN 'DELETE' THEN deleted ELSE updated END;
    old_key CONSTANT pg_catalog.text := (SELECT string_agg(format('t.%1$I = (p.o).%1$I', k), ' AND ') FROM jsonb_array_elements_text(rules -> 'key') k);
    new_key CONSTANT pg_catalog.text := (SELECT string_agg(format('t.%1$I = (p.n).%1$I', k), ' AND ') FROM jsonb_array_elements_text(rules -> 'key') k);
    old_image CONSTANT pg_catalog.text := public.threadline_image_sql_v1(target::pg_catalog.oid, rules, '(p.o)'::pg_catalog.text, '{}'::pg_catalog.text[]);
    new_image CONSTANT pg_catalog.text := public.threadline_image_sql_v1(target::pg_catalog.oid, rules, '(p.n)'::pg_catalog.text, '{}'::pg_catalog.text[]);
BEGIN
    RETURN CASE purpose
        WHEN 'gone' THEN format('SELECT public.threadline_recheck_v1($1, %s, NULL::pg_catalog.jsonb) FROM (%s OFFSET 0) p JOIN %s t ON %s %s',
            old_image, source, target, old_key, CASE operation WHEN 'UPDATE' THEN
                format('WHERE NOT EXISTS (SELECT FROM new_rows t WHERE %s)', old_key) ELSE '' END)
        WHEN 'kept' THEN format('SELECT public.threadline_recheck_v1($1, i.image, i.image) FROM (SELECT %s AS image FROM (%s OFFSET 0) p LEFT JOIN %s t ON %s
            WHERE t.* OPERATOR(pg_catalog.*<>) p.n OR t.* IS NOT DISTINCT FROM NULL OFFSET 0) i', new_image, source, target, new_key)
    END;
END $$;

-- Records a row as gone, for each row of one table; partitions stand for themselves.
CREATE OR REPLACE FUNCTION public.threadline_record_gone_v1(rules jsonb, relation regclass) RETURNS void
LANGUAGE plpgsql SET row_security = off
AS $$
BEGIN
    EXECUTE format('SELECT public.threadline_record_v1($1, NULL::pg_catalog.oid, $1 ->> ''table_schema'', $1 ->> ''table_name'', ''DELETE''::pg_catalog.text, NULL::pg_catalog.text,
        NULL::pg_catalog.text[], i.image, NULL::pg_catalog.jsonb, NULL::pg_catalog.text[], true, NULL::pg_catalog.xid) FROM (SELECT %s AS image FROM ONLY %s r OFFSET 0) i',
        public.threadline_image_sql_v1(relation::pg_catalog.oid, rules, 'r'::pg_catalog.text, '{}'::pg_catalog.text[]), relation) USING rules;
END $$;

-- TRUNCATE of a table is one line, or one for each row, or refused. A partition that is truncated alone would take rows away
-- without a trace: refused.
CREATE OR REPLACE FUNCTION public.threadline_truncate_v1(rules jsonb, relation regclass, trigger_when text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    root CONSTANT pg_catalog.regclass := format('%I.%I', rules ->> 'table_schema', rules ->> 'table_name');
    newest pg_catalog.record;
BEGIN
    IF rules ->> 'truncate' = 'refuse' THEN
        RAISE EXCEPTION 'threadline: TRUNCATE of % is refused', relation
            USING ERRCODE = 'insufficient_privilege', HINT = format('DELETE its rows: each is recorded. %s says truncate = refuse.', root);
    ELSIF trigger_when = 'BEFORE' THEN
        PERFORM public.threadline_record_gone_v1(rules, relation);
    ELSIF relation = root THEN
        PERFORM public.threadline_record_v1(rules, NULL::pg_catalog.oid, NULL::pg_catalog.text, NULL::pg_catalog.text, 'TRUNCATE'::pg_catalog.text,
            NULL::pg_catalog.text, NULL::pg_catalog.text[], NULL::pg_catalog.jsonb, NULL::pg_catalog.jsonb, NULL::pg_catalog.text[], true, NULL::pg_catalog.xid);
    ELSE
        -- Truncating the whole table fires the partitions' triggers too, after its own line was written.
        SELECT op, transaction_id INTO newest FROM public.audit_changes
        WHERE table_id = (rules -> 'table_id')::integer ORDER BY captured_at DESC, id DESC LIMIT 1;
        IF newest.op IS DISTINCT FROM 'truncate' OR newest.transaction_id <> public.threadline_transaction_id_v1() THEN
            RAISE EXCEPTION 'threadline: TRUNCATE of partition % alone would not be recorded', relation
                USING ERRCODE = 'feature_not_supported',
                      HINT = format('DELETE its rows, TRUNCATE %s as a whole, or let the model say truncate = rows.', root);
        END IF;
    END IF;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_admit_v1(jsonb, oid, text, text, text, text),
    public.threadline_image_sql_v1(oid, jsonb, text, text[]),
    public.threadline_images_query_v1(oid, jsonb, text, text[]),
    public.threadline_differences_sql_v1(oid, text, text),
    public.threadline_may_read_v1(oid),
    public.threadline_current_image_v1(jsonb, jsonb),
    public.threadline_recheck_v1(jsonb, jsonb, jsonb),
    public.threadline_rows_query_v1(text, text, jsonb),
    public.threadline_record_gone_v1(jsonb, regclass),
    public.threadline_truncate_v1(jsonb, regclass, text)
FROM PUBLIC;

-- What is looked up, and refused, when a table is captured.

-- Whether equal keys of this type always print alike, so that a key finds its history.
CREATE OR REPLACE FUNCTION public.threadline_key_type_v1(type oid, typmod integer, collation_oid oid) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT CASE
        WHEN t.typtype = 'd' THEN public.threadline_key_type_v1(t.typbasetype, t.typtypmod, collation_oid)
        WHEN t.typtype = 'e' THEN true
        WHEN t.typname IN ('numeric', 'bpchar') AND typmod = -1 THEN false
        ELSE t.typnamespace = 'pg_catalog'::regnamespace AND t.typname = ANY ('{numeric,int2,int4,int8,text,varchar,bpchar,name,char,uuid,bool,date,time,timestamp,timestamptz,bytea,inet,cidr,macaddr,macaddr8,bit,varbit,oid,pg_lsn,xid8}')
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_collation c WHERE c.oid = collation_oid AND NOT c.collisdeterministic)
    END
    FROM pg_catalog.pg_type t WHERE t.oid = type
$$;

-- The key of a table, checked: the columns asked for, or its primary key.
CREATE OR REPLACE FUNCTION public.threadline_checked_key_v1(relation regclass, wanted text[]) RETURNS text[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    key_columns pg_catalog.text[] := wanted;
    problem pg_catalog.record;
BEGIN
    IF key_columns IS NULL THEN
        SELECT array_agg(a.attname::text ORDER BY k.position) INTO key_columns
        FROM pg_catalog.pg_index i
        CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, position)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = relation AND i.indisprimary AND k.position <= i.indnkeyatts;
        IF key_columns IS NULL THEN
            RAISE EXCEPTION 'threadline: table % has no primary key', relation
                USING ERRCODE = 'invalid_table_definition',
                      HINT = 'Add one, or declare the columns of a unique index over NOT NULL columns as its key: #[audited(primary_key(column, ...))].';
        END IF;
    END IF;

    SELECT k.name, a.attnum IS NULL AS missing, NOT a.attnotnull AS nullable, format_type(a.atttypid, a.atttypmod) AS type
        INTO problem
    FROM unnest(key_columns) k(name)
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = relation AND a.attname = k.name AND a.attnum > 0 AND NOT a.attisdropped
    WHERE a.attnum IS NULL OR NOT a.attnotnull OR NOT public.threadline_key_type_v1(a.atttypid, a.atttypmod, a.attcollation)
    LIMIT 1;
    IF problem.missing THEN
        RAISE EXCEPTION 'threadline: table % has no key column %', relation, problem.name
            USING ERRCODE = 'undefined_column', HINT = 'Correct the key in the model, run `threadline generate` and the new migration.';
    ELSIF problem.nullable THEN
        RAISE EXCEPTION 'threadline: key column % of table % may be NULL', problem.name, relation
            USING ERRCODE = 'invalid_table_definition', HINT = 'ALTER TABLE ... ALTER COLUMN ... SET NOT NULL first, or declare another key.';
    ELSIF problem.name IS NOT NULL THEN
        RAISE EXCEPTION 'threadline: key column % of table % is of type %, whose equal values may print differently', problem.name, relation, problem.type
            USING ERRCODE = 'feature_not_supported', HINT = 'Declare a key of another type; numeric needs a scale, such as numeric(20,0).';
    END IF;

    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i
        WHERE i.indrelid = relation AND (i.indisprimary
              OR (i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL))
          AND (SELECT array_agg(a.attname::text ORDER BY a.attname)
               FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, position)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
               WHERE k.position <= i.indnkeyatts)
              = (SELECT array_agg(k ORDER BY k) FROM unnest(key_columns) k)
    ) THEN
        RAISE EXCEPTION 'threadline: the columns % of table % are not its primary key, nor those of a valid, immediate, non-partial unique index', key_columns, relation
            USING ERRCODE = 'invalid_table_definition', HINT = 'Create such an index first, or declare another key.';
    END IF;
    RETURN key_columns;
END $$;

-- Refuses redaction that would leak: of columns that don't exist, or that a stored generated column is computed from.
CREATE OR REPLACE FUNCTION public.threadline_check_redaction_v1(relation regclass, redacted text[], listed text[]) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    problem pg_catalog.record;
BEGIN
    SELECT l.name INTO problem FROM unnest(listed) l(name)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attname = l.name AND a.attnum > 0 AND NOT a.attisdropped);
    IF FOUND THEN
        RAISE EXCEPTION 'threadline: table % has no column %, which its capture rules name', relation, problem.name
            USING ERRCODE = 'undefined_column', HINT = 'Correct the rules in the model, run `threadline generate` and the new migration.';
    END IF;
    -- Which columns a generated column reads is recorded between it and them, or through its default.
    SELECT g.attname AS generated, s.attname AS source INTO problem
    FROM pg_catalog.pg_attribute g
    LEFT JOIN pg_catalog.pg_attrdef e ON e.adrelid = g.attrelid AND e.adnum = g.attnum
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = relation AND d.refobjsubid > 0
        AND ((d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid)
             OR (d.classid = 'pg_class'::regclass AND d.objid = relation AND d.objsubid = g.attnum))
    JOIN pg_catalog.pg_attribute s ON s.attrelid = relation AND s.attnum = d.refobjsubid
    WHERE g.attrelid = relation AND g.attgenerated <> '' AND s.attnum <> g.attnum
      AND s.attname = ANY (redacted) AND g.attname <> ALL (redacted)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'threadline: column % of table % is computed from the redacted column %', problem.generated, relation, problem.source
            USING ERRCODE = 'invalid_column_definition', HINT = format('Exclude or mask %s too.', problem.generated);
    END IF;
END $$;

-- Values that rows from before a column have, as PostgreSQL remembers them until it rewrites the table: arrays of one, of any
-- type and with its delimiter. Of a partitioned table, its partitions remember them; a value that these don't agree on is omitted.
CREATE OR REPLACE FUNCTION public.threadline_added_columns_v1(relation regclass, hidden text[]) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    WITH RECURSIVE tree(oid) AS (
        SELECT relation::oid
        UNION
        SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid JOIN pg_catalog.pg_class p ON p.oid = tree.oid AND p.relkind = 'p')
    SELECT coalesce(jsonb_object_agg(f.name, CASE cardinality(f.filled) WHEN 1 THEN f.filled[1] ELSE '{"$threadline": "omitted"}' END), '{}')
    FROM (
        SELECT a.attname AS name, array_agg(DISTINCT CASE
            WHEN a.atttypid = ANY ('{json,jsonb}'::regtype[]) THEN array_to_string(a.attmissingval, '')::jsonb
            ELSE to_jsonb(array_to_string(a.attmissingval, '')) END) AS filled
        FROM tree JOIN pg_catalog.pg_attribute a ON a.attrelid = tree.oid
        WHERE a.atthasmissing AND NOT a.attisdropped AND a.attname <> ALL (hidden)
        GROUP BY 1) f
$$;

-- Whether a type is stored as its text, because JSON would lose some of it: it has a cast to json that makes something else
-- of it, as hstore does, or is made of such a type; or it is made of arrays of JSON, whose own arrays would become further
-- dimensions.
CREATE OR REPLACE FUNCTION public.threadline_as_text_v1(type oid) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM public.threadline_type_parts_v1(type) part
        WHERE part = ANY ('{json[],jsonb[]}'::regtype[])
           OR part >= 16384 AND EXISTS (SELECT FROM pg_catalog.pg_cast c WHERE c.castsource = part AND c.casttarget = 'json'::regtype))
$$;

-- What only the catalog knows of how a table is captured; see threadline_record_v1.
CREATE OR REPLACE FUNCTION public.threadline_bound_rules_v1(relation regclass, keys text[], rules jsonb) RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'key', keys,
        'key_deferrable', (SELECT true FROM pg_catalog.pg_index i WHERE i.indrelid = relation AND i.indisprimary AND NOT i.indimmediate),
        'key_column', CASE WHEN cardinality(keys) = 1 THEN keys[1] END,
        -- A virtual column has no value in a trigger.
        'exclude', nullif((SELECT coalesce(jsonb_agg(e ORDER BY e), '[]') FROM (
            SELECT unnest(public.threadline_list_v1(rules, 'exclude'))
            UNION SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attgenerated = 'v' AND NOT a.attisdropped) x(e)), '[]'),
        'as_text', nullif((SELECT coalesce(jsonb_agg(a.attname::text ORDER BY a.attnum), '[]') FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v' AND public.threadline_as_text_v1(a.atttypid)), '[]'),
        -- A value that jsonb can't hold, or a type whose output function is anybody's. Without one, to_jsonb() doesn't fail.
        'fallible', (SELECT true FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL public.threadline_type_parts_v1(a.atttypid) part
            JOIN pg_catalog.pg_type t ON t.oid = part
            WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
              AND (part = 'json'::regtype OR part >= 16384 AND t.typtype <> 'e') LIMIT 1),
        -- A json value can change without its jsonb form changing.
        'inexact', nullif((SELECT coalesce(jsonb_agg(a.attname::text ORDER BY a.attnum), '[]')
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
            WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped
              AND ('json' IN (t.typname, e.typname, b.typname) OR 'c' IN (t.typtype, e.typtype, b.typtype))), '[]')))
$$;

-- Whether all triggers of a table's capture are there and enabled: those of its rows, by row or by statement, and of TRUNCATE.
CREATE OR REPLACE FUNCTION public.threadline_is_captured_v1(relation oid) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT count(*) FILTER (WHERE t.tgname = '!threadline') * 3 + count(*) FILTER (WHERE t.tgname IN ('!threadline_insert', '!threadline_update', '!threadline_delete')) >= 3
        AND count(*) FILTER (WHERE t.tgname IN ('!threadline_truncate', '~threadline_truncate')) > 0
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = relation AND t.tgenabled IN ('O', 'A') AND p.proname ~ '^threadline_capture_' AND p.pronamespace = 'public'::regnamespace
$$;

-- Statement triggers see the rows of one table, and only through that table.
CREATE OR REPLACE FUNCTION public.threadline_check_statement_level_v1(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_catalog.pg_class c WHERE c.oid = relation) THEN
        RAISE EXCEPTION 'threadline: table % is partitioned and can''t be captured by statement', relation
            USING ERRCODE = 'feature_not_supported', HINT = 'A write to one of its partitions would not be seen. Take level = statement away from its model.';
    ELSIF EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE relation IN (i.inhrelid, i.inhparent)) THEN
        RAISE EXCEPTION 'threadline: table % takes part in inheritance and can''t be captured by statement', relation
            USING ERRCODE = 'feature_not_supported', HINT = 'Rows of several tables would be recorded as its own. Take level = statement away from its model.';
    ELSIF EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attgenerated = 'v' AND NOT a.attisdropped) THEN
        RAISE EXCEPTION 'threadline: table % has a virtual column and can''t be captured by statement', relation
            USING ERRCODE = 'feature_not_supported', HINT = 'PostgreSQL can''t read the rows of a statement with one. Take level = statement away from its model.';
    END IF;
END $$;

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

-- How a table gets its triggers and their function, and loses them: what generated migrations call.

-- The triggers that rules ask for: on the table, and on its partitions, since TRUNCATE triggers are not inherited.
CREATE OR REPLACE FUNCTION public.threadline_triggers_v1(relation regclass, rules jsonb)
RETURNS TABLE (held_by oid, name name, definition text)
LANGUAGE sql STABLE
AS $$
    -- Names that begin with "!" sort before every other trigger, and AFTER ROW triggers fire by name.
    SELECT relation::oid, t.name::name, t.definition
    FROM (VALUES
        ('row', '!threadline', 'AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW'),
        ('statement', '!threadline_insert', 'AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT'),
        ('statement', '!threadline_update', 'AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT'),
        ('statement', '!threadline_delete', 'AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT')
    ) t(level, name, definition) WHERE t.level = coalesce(rules ->> 'level', 'row')
    UNION ALL
    SELECT l.oid, t.name::name, t.definition
    FROM (SELECT relation::oid UNION SELECT p.relid FROM pg_catalog.pg_partition_tree(relation) p) l(oid)
    JOIN (VALUES
        -- Not BEFORE: what other triggers write to the table before its rows go has to stand before this line.
        (false, '!threadline_truncate', 'AFTER TRUNCATE ON %s FOR EACH STATEMENT'),
        -- The rows are only there before; the name sorts after other triggers'.
        (true, '~threadline_truncate', 'BEFORE TRUNCATE ON %s FOR EACH STATEMENT')
    ) t(rowwise, name, definition) ON t.rowwise = (coalesce(rules ->> 'truncate', '') = 'rows')
$$;

-- What makes the images of a table whose columns need care whatever is in them, as PL/pgSQL over `old_row` and `new_row`. It is
-- written when the table is captured: a query that is written for each row takes forty times as long.
--   as_text     is printed, and left out of what to_jsonb() makes
--   redacted    is left out, too: PL/pgSQL runs an expression that failed as a query for the rest of the transaction, with its values
--   inexact     is compared as it is, since its image may not show that it changed
--   on_change   is not even looked at where it did not change
-- The other columns are not named, so that one that is dropped does no harm.
CREATE OR REPLACE FUNCTION public.threadline_special_images_v1(rules jsonb) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT format($images$
            changed := CASE TG_OP WHEN 'UPDATE' THEN array_remove(ARRAY[%1$s]::text[], NULL) END;
            unchanged := CASE TG_OP WHEN 'UPDATE' THEN public.threadline_unchanged_v1(%2$L::jsonb, changed) ELSE '{}' END;
            hidden_before := '{}';
            hidden_after := '{}';%3$s
            IF greatest(pg_column_size(old_row), pg_column_size(new_row)) <= %4$s THEN
                before := CASE WHEN TG_OP <> 'INSERT' THEN (to_jsonb(old_row) || hidden_before) - unchanged END;
                after := CASE WHEN TG_OP <> 'DELETE' THEN (to_jsonb(new_row) || hidden_after) - unchanged END;
            ELSE
                before := NULL;
                after := NULL;
                changed := NULL;
            END IF;$images$,
        string_agg(format('CASE WHEN record_image_ne(ROW(old_row.%1$I), ROW(new_row.%1$I)) THEN %1$L END', c.name), ', ' ORDER BY c.name COLLATE "C"),
        rules - '{mask,exclude,as_text}'::text[],
        string_agg(CASE WHEN c.value IS NOT NULL THEN format('
            hidden_before := hidden_before || jsonb_build_object(%1$L, CASE WHEN old_row.%1$I IS DISTINCT FROM NULL THEN %2$s END);
            hidden_after := hidden_after || jsonb_build_object(%1$L, CASE WHEN new_row.%1$I IS DISTINCT FROM NULL THEN %3$s END);
            old_row.%1$I := (NULL::%4$I.%5$I).%1$I;
            new_row.%1$I := (NULL::%4$I.%5$I).%1$I;', c.name, format(c.value, 'old_row', c.name), format(c.value, 'new_row', c.name), rules ->> 'table_schema', rules ->> 'table_name')
            WHEN rules -> 'on_change' ? c.name THEN format('
            IF %1$L = ANY (unchanged) THEN
                old_row.%1$I := (NULL::%2$I.%3$I).%1$I;
                new_row.%1$I := (NULL::%2$I.%3$I).%1$I;
            END IF;', c.name, rules ->> 'table_schema', rules ->> 'table_name') END, '' ORDER BY c.name COLLATE "C"),
        rules -> 'max_value_bytes')
    FROM (
        SELECT n.name, CASE WHEN rules -> 'redacted' ? n.name THEN quote_literal('') WHEN rules -> 'as_text' ? n.name THEN 'concat(%s.%I)' END AS value
        FROM unnest('{key,redacted,as_text,inexact,on_change}'::text[]) list(name), unnest(public.threadline_list_v1(rules, list.name)) n(name)
        GROUP BY 1) c
$$;

-- When the images of a table are made so: for every row, for those of an UPDATE, or never; as a condition.
CREATE OR REPLACE FUNCTION public.threadline_is_special_v1(rules jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN rules ? 'as_text' OR rules ?& '{redacted,fallible}' THEN 'true'
        WHEN rules ?| '{inexact,on_change}' THEN '(TG_OP = ''UPDATE'')' ELSE 'false' END
$$;

-- The body of a capture function with what only the catalog knows, names quoted. It is filled in one pass: what takes a place is
-- never looked at again.
CREATE OR REPLACE FUNCTION public.threadline_bound_body_v1(relation regclass, rules jsonb, keys text[], hidden text[], known text[], body text) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT string_agg(piece.text || coalesce(CASE place.name[1]
        WHEN 'rules' THEN quote_literal(rules) || '::jsonb'
        WHEN 'special' THEN public.threadline_is_special_v1(rules)
        WHEN 'images' THEN CASE public.threadline_is_special_v1(rules) WHEN 'false' THEN 'NULL;' ELSE public.threadline_special_images_v1(rules) END
        WHEN 'immediate' THEN CASE WHEN rules ? 'key_deferrable' THEN 'false' ELSE 'true' END -- one row at a time has a key
        WHEN 'known_columns' THEN quote_literal(known) || '::text[]'
        WHEN 'relation' THEN (
            SELECT format('%I.%I', n.nspname, c.relname)
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation)
        WHEN 'same_key' THEN (SELECT string_agg(format('t.%1$I = OLD.%1$I', k), ' AND ') FROM unnest(keys) k)
        WHEN 'version_key' THEN (SELECT string_agg(format('t.%1$I = (r.version).%1$I', k), ' AND ') FROM unnest(keys) k)
        WHEN 'hidden' THEN (
            SELECT string_agg(format($hidden$
        BEGIN
            hidden_before := hidden_before || jsonb_build_object(%2$L, CASE WHEN old_row.%1$I IS DISTINCT FROM NULL THEN '""'::jsonb END);
            hidden_after := hidden_after || jsonb_build_object(%2$L, CASE WHEN new_row.%1$I IS DISTINCT FROM NULL THEN '""'::jsonb END);
            IF record_image_ne(ROW(old_row.%1$I), ROW(new_row.%1$I)) THEN
                changed := changed || %2$L::text;
            END IF;
            -- A NULL of the column's own type: a cast to a domain would run its check.
            old_row.%1$I := (NULL::%3$I.%4$I).%1$I;
            new_row.%1$I := (NULL::%3$I.%4$I).%1$I;
        EXCEPTION WHEN undefined_column THEN
            NULL; -- it was dropped
        END;$hidden$, h, h, rules ->> 'table_schema', rules ->> 'table_name'), '') FROM unnest(hidden) h)
        END, ''), '' ORDER BY piece.number)
    FROM regexp_split_to_table(body, ':(?:rules|special|images|immediate|known_columns|relation|same_key|version_key|hidden)') WITH ORDINALITY piece(text, number)
    LEFT JOIN regexp_matches(body, ':(rules|special|images|immediate|known_columns|relation|same_key|version_key|hidden)', 'g') WITH ORDINALITY place(name, number) USING (number)
$$;

-- The triggers that are there.
CREATE OR REPLACE FUNCTION public.threadline_attached_v1(relation regclass) RETURNS TABLE (held_by oid, name name)
LANGUAGE sql STABLE
AS $$
    SELECT t.tgrelid, t.tgname FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid IN (SELECT relation::oid UNION SELECT l.relid FROM pg_catalog.pg_partition_tree(relation) l)
      AND t.tgname ~ '^[!~]threadline' AND t.tgparentid = 0 AND p.pronamespace = 'public'::regnamespace
$$;

-- Makes sure that the owner of the log can read a table, all of it: capture reads a row again when something wrote in the
-- middle of a statement, and where it can't, it fails the write of an application that knows nothing of this.
CREATE OR REPLACE FUNCTION public.threadline_check_readable_v1(relation regclass, log_owner oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    audited pg_catalog.record;
    reader CONSTANT pg_catalog.text := quote_ident(pg_get_userbyid(log_owner));
    step pg_catalog.record;
BEGIN
    SELECT n.oid AS schema_id, quote_ident(n.nspname) AS schema, n.nspowner, c.relowner, quote_ident(pg_get_userbyid(c.relowner)) AS owner,
        c.relrowsecurity, c.relforcerowsecurity INTO audited
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    FOR step IN
        SELECT * FROM (VALUES
            ('USAGE', format('GRANT USAGE ON SCHEMA %s TO %s', audited.schema, reader), 'look into schema ' || audited.schema, 'schema', audited.nspowner),
            ('SELECT', format('GRANT SELECT ON %s TO %s', relation, reader), 'read table ' || relation, 'table', audited.relowner)
        ) s(privilege, remedy, deed, kind, granter)
    LOOP
        CONTINUE WHEN CASE step.privilege WHEN 'USAGE' THEN has_schema_privilege(log_owner, audited.schema_id, 'USAGE') ELSE has_table_privilege(log_owner, relation, 'SELECT') END;
        BEGIN
            EXECUTE step.remedy;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL; -- said below; with some right on it but not that of granting, GRANT only warns
        END;
        IF NOT (CASE step.privilege WHEN 'USAGE' THEN has_schema_privilege(log_owner, audited.schema_id, 'USAGE') ELSE has_table_privilege(log_owner, relation, 'SELECT') END) THEN
            RAISE EXCEPTION 'threadline: role %, which owns the log, may not %', reader, step.deed
                USING ERRCODE = 'insufficient_privilege',
                      HINT = format('Let the owner of the %s run: %s;', step.kind, step.remedy);
        END IF;
    END LOOP;
    IF audited.relrowsecurity AND NOT EXISTS (
        SELECT FROM pg_roles r WHERE r.oid = log_owner
            AND (r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, audited.relowner, 'USAGE') AND NOT audited.relforcerowsecurity))
    THEN
        RAISE EXCEPTION 'threadline: row level security hides rows of table % from role %, which owns the log', relation, reader
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('Capture has to read rows again, and would fail writes. Let a superuser run: ALTER ROLE %s BYPASSRLS;%s', reader,
                      CASE WHEN NOT audited.relforcerowsecurity THEN format(' or make it a member of the owner of the table: GRANT %s TO %s;', audited.owner, reader) ELSE '' END);
    END IF;
END $$;

-- Tells the DDL guard that what follows in this transaction is capture's own, until the entry is written again.
CREATE OR REPLACE FUNCTION public.threadline_changing_v1(target integer) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$ UPDATE public.audit_tables t SET identity = t.identity || '{"changing": true}' WHERE t.id = target $$;

-- Captures a table, or brings a captured one to a new policy. Called by generated migrations, as the table's owner.
-- Either all of it happens or none.
CREATE OR REPLACE FUNCTION public.threadline_capture_v1(
    relation regclass, target text, key_columns text[], rules jsonb,
    former_names text[], former_columns jsonb, fingerprint text, lock_timeout text, body text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
AS $$
#variable_conflict use_variable
DECLARE
    catalog pg_catalog.record;
    attached integer;
    captured_at pg_catalog.timestamptz;
    registered public.audit_tables;
    entry public.audit_tables;
    keys pg_catalog.text[];
    known pg_catalog.text[];
    hidden pg_catalog.text[];
    listed pg_catalog.text[];
    level CONSTANT pg_catalog.text := coalesce(rules ->> 'level', 'row');
    bound pg_catalog.jsonb;
    function_name pg_catalog.text;
    changes_triggers boolean;
    wanted pg_catalog.record;
    log_owner pg_catalog.oid;
    holder pg_catalog.regclass;
    populated boolean;
    refusal pg_catalog.text;
    next_step pg_catalog.text;
BEGIN
    PERFORM set_config('lock_timeout', lock_timeout, true);
    IF relation IS NULL THEN
        RAISE EXCEPTION 'threadline: table % does not exist', target
            USING ERRCODE = 'undefined_table', HINT = 'Create it in an earlier migration, or correct its name or schema in the model.';
    END IF;
    SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind, c.relpersistence, c.relispartition INTO catalog
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF catalog.relkind NOT IN ('r', 'p') OR catalog.relpersistence = 't' THEN
        RAISE EXCEPTION 'threadline: % is not a permanent table', target
            USING ERRCODE = 'wrong_object_type', HINT = 'Only tables can be audited: name the table behind it.';
    ELSIF catalog.relispartition THEN
        RAISE EXCEPTION 'threadline: % is a partition', target
            USING ERRCODE = 'wrong_object_type', HINT = format('Audit the whole table: %s.', pg_partition_root(relation)::regclass);
    ELSIF EXISTS (
        SELECT FROM pg_class c WHERE c.relpersistence = 'u' AND c.oid IN (SELECT relation::oid UNION SELECT p.relid FROM pg_partition_tree(relation) p))
    THEN
        RAISE EXCEPTION 'threadline: table % is unlogged', target
            USING ERRCODE = 'feature_not_supported', HINT = 'A crash would empty it, and its history would not know. ALTER TABLE ... SET LOGGED first.';
    ELSIF catalog.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = relation) THEN
        RAISE EXCEPTION 'threadline: table % has tables that inherit from it', target
            USING ERRCODE = 'feature_not_supported', HINT = 'Their rows show in it and fire no trigger of it. Audit each of them, or make it a partitioned table.';
    ELSIF relation = ANY (ARRAY['public.audit_tables', 'public.audit_transactions', 'public.audit_changes', 'public.audit_actions', 'public.audit_commits']::regclass[]) THEN
        RAISE EXCEPTION 'threadline: % is part of the audit log and can''t be audited', target USING ERRCODE = 'wrong_object_type';
    END IF;
    SELECT c.relowner INTO log_owner FROM pg_class c WHERE c.oid = 'public.audit_changes'::regclass;
    PERFORM public.threadline_check_place_v1(ARRAY[log_owner]);

    SELECT substr(p.proname, length('threadline_capture_') + 1)::integer INTO attached
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = relation AND t.tgname LIKE '!threadline%' AND p.pronamespace = 'public'::regnamespace LIMIT 1;
    changes_triggers := EXISTS (
        SELECT t.held_by, t.name FROM public.threadline_triggers_v1(relation, rules) t
        EXCEPT SELECT a.held_by, a.name FROM public.threadline_attached_v1(relation) a);
    IF changes_triggers THEN
        -- First of all, so that nobody writes between the checks and the trigger. A new policy needs no lock.
        EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relation);
    END IF;
    keys := public.threadline_checked_key_v1(relation, key_columns);
    hidden := public.threadline_list_v1(rules, 'redacted');
    SELECT array_agg(DISTINCT c) INTO listed FROM unnest(ARRAY['exclude', 'except_columns', 'ignore_only', 'on_change', 'redacted']) l
    CROSS JOIN LATERAL unnest(public.threadline_list_v1(rules, l)) c;
    IF keys && hidden THEN
        RAISE EXCEPTION 'threadline: key column % of table % can''t be excluded or masked', (SELECT k FROM unnest(keys) k WHERE k = ANY (hidden) LIMIT 1), relation
            USING ERRCODE = 'invalid_column_definition', HINT = 'History finds rows by it: redact another column, or declare another key.';
    END IF;
    PERFORM public.threadline_check_redaction_v1(relation, hidden, listed);
    IF level = 'statement' THEN
        PERFORM public.threadline_check_statement_level_v1(relation);
    END IF;
    SELECT array_agg(a.attname::text ORDER BY a.attname COLLATE "C") INTO known
    FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped;
    -- The table keeps its entry, and with it its history, through renames: the trigger knows it, or a former name.
    SELECT * INTO registered FROM public.audit_tables t
    WHERE t.id = attached
       OR attached IS NULL AND t.table_schema = catalog.schema AND (t.table_name = catalog.name OR t.table_name = ANY (former_names))
    ORDER BY t.table_name = catalog.name DESC LIMIT 1;
    IF registered.id IS NULL THEN
        INSERT INTO public.audit_tables AS t (table_schema, table_name, key_columns, fingerprint, function_version)
        VALUES (catalog.schema, catalog.name, keys, fingerprint, 1) RETURNING * INTO registered;
    END IF;
    entry := public.threadline_entry_v1(relation, registered.id);
    PERFORM public.threadline_changing_v1(registered.id);
    function_name := 'threadline_capture_' || registered.id;
    bound := rules || public.threadline_bound_rules_v1(relation, keys, rules)
        || jsonb_build_object('table_id', registered.id, 'table_schema', catalog.schema, 'table_name', catalog.name);
    SELECT t.tgrelid::regclass INTO holder FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE p.proname = function_name AND p.pronamespace = 'public'::regnamespace
      AND pg_partition_root(t.tgrelid) IS DISTINCT FROM relation AND t.tgrelid <> relation LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'threadline: table % records as %.%', holder, catalog.schema, catalog.name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('It was renamed: migrate it first, with a model that says formerly = "%s".', catalog.name);
    END IF;

    -- A plan that reads all of a small table is kept while the table grows, and locks all of it for a SERIALIZABLE transaction.
    EXECUTE format($function$
CREATE OR REPLACE FUNCTION public.%I() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
SET enable_seqscan = off %s
AS %L
$function$, function_name,
        -- How names of objects print; pinned only where a column holds them, as each pin costs every captured row.
        CASE WHEN EXISTS (
            SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = relation AND NOT a.attisdropped
              AND ARRAY[t.oid, t.typelem, t.typbasetype] && '{regclass,regcollation,regconfig,regdictionary,regnamespace,regoper,regoperator,regproc,regprocedure,regrole,regtype}'::regtype[]::oid[]
        ) THEN 'SET quote_all_identifiers = off' ELSE '' END,
        format(E'\nDECLARE\n%s', public.threadline_bound_body_v1(relation, bound, keys, hidden, known, body)));

    FOR wanted IN
        SELECT a.held_by, a.name FROM public.threadline_attached_v1(relation) a
        WHERE (a.held_by, a.name) NOT IN (SELECT t.held_by, t.name FROM public.threadline_triggers_v1(relation, rules) t)
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', wanted.name, wanted.held_by::regclass);
    END LOOP;
    FOR wanted IN
        SELECT t.* FROM public.threadline_triggers_v1(relation, rules) t
        WHERE (t.held_by, t.name) NOT IN (SELECT a.held_by, a.name FROM public.threadline_attached_v1(relation) a)
    LOOP
        EXECUTE format('CREATE TRIGGER %I %s EXECUTE FUNCTION public.%I()', wanted.name, format(wanted.definition, wanted.held_by::regclass), function_name);
    END LOOP;

    IF log_owner <> (SELECT p.proowner FROM pg_proc p WHERE p.oid = format('public.%I()', function_name)::regprocedure) THEN
        EXECUTE format('ALTER FUNCTION public.%I() OWNER TO %I', function_name, pg_get_userbyid(log_owner));
    END IF;
    -- Default privileges may have given it to others, who could attach it to a table of their own.
    FOR wanted IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS name
        FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        WHERE p.oid = format('public.%I()', function_name)::regprocedure AND a.grantee <> p.proowner
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION public.%I() FROM %s CASCADE', function_name, wanted.name);
    END LOOP;
    FOR wanted IN SELECT unnest(public.threadline_meant_for_v1(format('public.%I()', function_name)::regprocedure)) AS name LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION public.%I() TO %I', function_name, wanted.name);
    END LOOP;
    PERFORM public.threadline_check_readable_v1(relation, log_owner);
    IF rules ->> 'truncate' = 'rows' THEN
        -- The rows of a partition that is truncated are read from the partition itself.
        FOR wanted IN
            SELECT p.relid::regclass AS partition FROM pg_partition_tree(relation) p
            WHERE p.isleaf AND NOT has_table_privilege(log_owner, p.relid, 'SELECT')
        LOOP
            EXECUTE format('GRANT SELECT ON %s TO %I', wanted.partition, pg_get_userbyid(log_owner));
        END LOOP;
    END IF;

    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', relation) INTO populated;
    captured_at := clock_timestamp();
    entry := public.threadline_noted_v1(entry, relation, captured_at);
    UPDATE public.audit_tables t SET
        table_schema = catalog.schema,
        table_name = catalog.name,
        former_names = CASE WHEN t.table_name = catalog.name THEN t.former_names ELSE t.table_name || t.former_names END,
        key_columns = keys,
        gaps = entry.gaps,
        installed_at = coalesce(t.installed_at, captured_at),
        horizon = CASE
            WHEN NOT populated AND changes_triggers AND (entry.horizon IS NULL OR EXISTS (SELECT FROM unnest(entry.gaps) g WHERE upper(g) > entry.horizon)) THEN captured_at
            -- What was recorded under another key says nothing about rows that are asked for by this one.
            WHEN cardinality(t.key_columns) = cardinality(keys) AND NOT EXISTS (
                SELECT FROM unnest(t.key_columns) k WHERE k <> ALL (keys) AND NOT EXISTS (
                    SELECT FROM unnest(keys) n WHERE (entry.former_columns || threadline_capture_v1.former_columns) -> n ? k)) THEN entry.horizon END,
        fingerprint = threadline_capture_v1.fingerprint,
        function_version = 1,
        rules = bound,
        on_change = ARRAY(SELECT c FROM unnest(t.on_change || public.threadline_list_v1(rules, 'on_change')) c GROUP BY c ORDER BY c),
        redacted = (SELECT coalesce(jsonb_object_agg(r.name, r.placeholders), '{}') FROM (
            SELECT e.key AS name, coalesce(jsonb_agg(DISTINCT p.value) FILTER (WHERE p.value IS NOT NULL), '[]') AS placeholders
            FROM (SELECT key, value FROM jsonb_each(t.redacted) UNION ALL SELECT h, CASE WHEN rules -> 'mask' ? h THEN jsonb_build_array(rules -> 'mask' -> h) ELSE '[]' END FROM unnest(hidden) h) e
            LEFT JOIN LATERAL jsonb_array_elements(e.value) p ON true GROUP BY e.key) r),
        former_columns = entry.former_columns || threadline_capture_v1.former_columns,
        added_columns = entry.added_columns || public.threadline_added_columns_v1(relation, hidden),
        identity = entry.identity
    WHERE t.id = registered.id;
EXCEPTION
    WHEN lock_not_available THEN
        RAISE EXCEPTION E'threadline: table % stayed in use for %\nRun the migration again when the transactions that use it have ended.', target, lock_timeout
            USING ERRCODE = 'lock_not_available';
    WHEN OTHERS THEN
        -- Diesel shows the message of an error and drops its hint: what to do next has to be in the message.
        GET STACKED DIAGNOSTICS refusal = MESSAGE_TEXT, next_step = PG_EXCEPTION_HINT;
        RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = concat_ws(E'\n', refusal, nullif(next_step, '') || CASE
            WHEN refusal LIKE 'threadline: %' THEN ' Should you generate the migration again, remove this one first.' ELSE '' END);
END $$;

-- Ends the capture of a table. Its history stays.
CREATE OR REPLACE FUNCTION public.threadline_release_v1(relation regclass, target text, lock_timeout text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    registered public.audit_tables;
    attached pg_catalog.record;
BEGIN
    PERFORM set_config('lock_timeout', lock_timeout, true);
    IF relation IS NULL THEN
        -- The table is gone, and its triggers with it.
        FOR registered IN
            SELECT t.* FROM public.audit_tables t
            WHERE target IN (t.table_name, t.table_schema || '.' || t.table_name)
              AND to_regclass(format('%I.%I', t.table_schema, t.table_name)) IS NULL
        LOOP
            EXECUTE format('DROP FUNCTION IF EXISTS public.%I()', 'threadline_capture_' || registered.id);
            UPDATE public.audit_tables t SET installed_at = NULL, horizon = NULL WHERE t.id = registered.id;
        END LOOP;
        RETURN;
    END IF;
    SELECT t.* INTO registered FROM public.audit_tables t
    JOIN pg_class c ON c.oid = relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.table_schema = n.nspname AND t.table_name = c.relname;
    -- First, so that the DDL guard lets the triggers go.
    UPDATE public.audit_tables t SET
        installed_at = NULL, horizon = NULL,
        gaps = CASE WHEN t.installed_at IS NULL THEN t.gaps ELSE t.gaps || tstzrange(clock_timestamp(), NULL) END
    WHERE t.id = registered.id;
    FOR attached IN SELECT * FROM public.threadline_attached_v1(relation) LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', attached.name, attached.held_by::regclass);
    END LOOP;
    EXECUTE format('DROP FUNCTION IF EXISTS public.%I()', 'threadline_capture_' || registered.id);
EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION E'threadline: table % stayed in use for %\nRun the migration again when the transactions that use it have ended.', target, lock_timeout
        USING ERRCODE = 'lock_not_available';
END $$;

-- Ends the capture of a table by hand, as reverting its migration does. Its history stays. To drop a table, call this first.
--
--   SELECT threadline_release('users');
CREATE OR REPLACE FUNCTION public.threadline_release(relation regclass) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$ SELECT public.threadline_release_v1(relation, relation::text, '2s') $$;

-- Writes what threadline_noted_v1 made of an entry.
CREATE OR REPLACE FUNCTION public.threadline_write_entry_v1(entry public.audit_tables) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE public.audit_tables t SET gaps = entry.gaps, horizon = entry.horizon, former_columns = entry.former_columns,
        added_columns = entry.added_columns, identity = entry.identity
    WHERE t.id = entry.id
$$;

-- Notes what DDL did to an audited table since the last time, at `happened_at` if that is known. It returns what is unknown
-- because of that: "rows", or the names of columns.
CREATE OR REPLACE FUNCTION public.threadline_note_v1(relation regclass, target integer, happened_at timestamptz) RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
AS $$
DECLARE
    entry public.audit_tables := public.threadline_entry_v1(relation, target, happened_at);
    unknown CONSTANT pg_catalog.text[] := ARRAY(SELECT 'rows' WHERE EXISTS (SELECT FROM unnest(entry.gaps) g WHERE upper_inf(g)))
        || ARRAY(
            SELECT c.key FROM jsonb_each(entry.identity -> 'column_gaps') c
            WHERE EXISTS (SELECT FROM jsonb_array_elements_text(c.value) r WHERE upper_inf(r::tstzrange)) ORDER BY c.key);
BEGIN
    entry.added_columns := entry.added_columns || public.threadline_added_columns_v1(relation, public.threadline_list_v1(entry.rules, 'redacted'));
    -- What happened in no time is still between the changes before it and those after it.
    PERFORM public.threadline_write_entry_v1(public.threadline_noted_v1(entry, relation, coalesce(happened_at + interval '1 microsecond', clock_timestamp())));
    RETURN unknown;
END $$;

-- Looks at an audited table again, and notes what DDL did to it since the last time. What isn't known ends here. It returns what that is:
-- "rows", or the names of columns. Between two looks only that time is unknown, so that a migration may well call it before
-- its DDL and after it:
--
--   SELECT threadline_note('users');
--   ALTER TABLE users ALTER balance TYPE bigint;
--   SELECT threadline_note('users');
CREATE OR REPLACE FUNCTION public.threadline_note(relation regclass) RETURNS text[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    root CONSTANT pg_catalog.regclass := coalesce(pg_partition_root(relation), relation);
    target CONSTANT integer := public.threadline_table(root);
BEGIN
    -- So that no other DDL comes in between.
    EXECUTE format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', root);
    IF EXISTS (SELECT FROM public.audit_tables t WHERE t.id = target AND t.installed_at IS NULL) THEN
        RAISE EXCEPTION 'threadline: table % is not captured', root
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run `threadline generate` with its model in the list, and the new migration.';
    END IF;
    RETURN public.threadline_note_v1(root, target, NULL);
END $$;

-- Takes a partition out of an audited table: its rows are recorded as deleted, since the table no longer has them, and it
-- stays as a table of its own. To drop a partition, call this first.
--
--   SELECT threadline_detach('events_2024_01');
CREATE OR REPLACE FUNCTION public.threadline_detach(partition regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' SET lc_monetary = 'C'
AS $$
DECLARE
    root CONSTANT pg_catalog.regclass := pg_partition_root(partition);
    parent CONSTANT pg_catalog.regclass := (SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = partition);
    audited public.audit_tables;
    leaf pg_catalog.regclass;
    attached pg_catalog.record;
BEGIN
    SELECT t.* INTO audited FROM public.audit_tables t
    JOIN pg_class c ON c.oid = root JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE t.table_schema = n.nspname AND t.table_name = c.relname AND t.installed_at IS NOT NULL;
    IF parent IS NULL OR audited.id IS NULL THEN
        RAISE EXCEPTION 'threadline: % is not a partition of an audited table', partition
            USING ERRCODE = 'wrong_object_type', HINT = 'Name the partition that is to leave its table.';
    END IF;
    EXECUTE format('LOCK TABLE %s, %s IN ACCESS EXCLUSIVE MODE', parent, partition);
    audited := public.threadline_entry_v1(root, audited.id);
    PERFORM public.threadline_changing_v1(audited.id);
    FOR leaf IN SELECT l.relid FROM pg_partition_tree(partition) l WHERE l.isleaf LOOP
        PERFORM public.threadline_record_gone_v1(audited.rules, leaf);
    END LOOP;
    EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, partition);
    FOR attached IN SELECT * FROM public.threadline_attached_v1(partition) LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', attached.name, attached.held_by::regclass);
    END LOOP;
    PERFORM public.threadline_write_entry_v1(public.threadline_noted_v1(audited, root, clock_timestamp()));
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_bound_body_v1(regclass, jsonb, text[], text[], text[], text),
    public.threadline_capture_v1(regclass, text, text[], jsonb, text[], jsonb, text, text, text),
    public.threadline_release_v1(regclass, text, text),
    public.threadline_changing_v1(integer),
    public.threadline_release(regclass),
    public.threadline_write_entry_v1(public.audit_tables),
    public.threadline_note_v1(regclass, integer, timestamptz),
    public.threadline_note(regclass),
    public.threadline_detach(regclass),
    public.threadline_check_readable_v1(regclass, oid)
FROM PUBLIC;

-- What keeps the log whole: append-only guards, the rights on it, its owner; and the one way to write without being recorded.

SET LOCAL lock_timeout = '2s';

-- Append-only. Retention identifies itself by acting as the role threadline_retention. The registry of audited tables is
-- written by members of its owner: whoever captures a table is one.
CREATE OR REPLACE FUNCTION public.threadline_guard_v1() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_RELID = 'public.audit_tables'::regclass THEN
        IF TG_OP <> 'TRUNCATE' AND pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE') THEN
            RETURN NULL; -- it fires for each statement, whose rows go on
        END IF;
        RAISE EXCEPTION 'threadline: % is the registry of audited tables, % by % is refused', TG_TABLE_NAME, TG_OP, current_user
            USING ERRCODE = 'insufficient_privilege', HINT = 'Generated migrations write to it, as a member of its owner.';
    END IF;
    IF TG_OP = 'DELETE' AND current_user = 'threadline_retention' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND coalesce(pg_partition_root(TG_RELID), TG_RELID) = 'public.audit_transactions'::regclass
        AND pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE')
    THEN
        -- The first action and a late actor, once, inside the transaction itself.
        IF to_jsonb(NEW) - '{actor_ref,action_id}'::text[] = to_jsonb(OLD) - '{actor_ref,action_id}'::text[]
            AND (OLD.actor_ref IS NULL OR OLD.actor_ref = NEW.actor_ref)
            AND (OLD.action_id IS NULL OR OLD.action_id = NEW.action_id)
            AND OLD.id = public.threadline_transaction_id_v1()
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'threadline: % is append-only, % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege', HINT = 'Old entries leave through retention, as the role threadline_retention.';
END $$;

-- The tables of the log and, since neither rights nor TRUNCATE triggers nor row level security are inherited, their partitions.
CREATE OR REPLACE FUNCTION public.threadline_log_tables_v1() RETURNS TABLE (root regclass, relation regclass, level integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t.root, coalesce(p.relid, t.root), coalesce(p.level, 0)
    FROM unnest(ARRAY['public.audit_tables', 'public.audit_changes', 'public.audit_transactions', 'public.audit_actions', 'public.audit_commits']::regclass[]) t(root)
    LEFT JOIN LATERAL pg_partition_tree(t.root) p ON true
$$;

-- An INSERT into audit_transactions, where row level security would cost readers more than this costs writers. The argument
-- is the owner's name as it was when the guard was made, which saves looking for it for each transaction.
CREATE OR REPLACE FUNCTION public.threadline_guard_insert_v1() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF current_user OPERATOR(pg_catalog.<>) TG_ARGV[0] THEN -- qualified, as it runs under the path of whoever writes
        IF NOT pg_catalog.pg_has_role(current_user, (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) TG_RELID), 'USAGE') THEN
            RAISE EXCEPTION 'threadline: % is written by its owner, % by % is refused', TG_TABLE_NAME, TG_OP, current_user
                USING ERRCODE = 'insufficient_privilege', HINT = 'Writes to audited tables are recorded as the owner of the log.';
        END IF;
    END IF;
    RETURN NULL;
END $$;

-- Puts the guards where they are missing.
--
-- An INSERT is refused by row level security, whatever has been granted: there is no policy that admits one, and the owner is
-- exempt. For the owner it costs nothing, where a trigger would run for each captured row. The policies for UPDATE and DELETE
-- let the rows through to the guard, which refuses them with an error; without them, nothing would be found and nothing said.
-- For readers, the planner knows less of a table under row level security: of audit_transactions, too little to find the
-- newest of an actor's, so that has a trigger.
CREATE OR REPLACE FUNCTION public.threadline_guard_tables_v1() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    root pg_catalog.regclass;
    guarded pg_catalog.regclass;
    owner pg_catalog.text;
    partition pg_catalog.regclass;
    name pg_catalog.name;
    command pg_catalog.text;
BEGIN
    FOR root, guarded IN
        SELECT t.root, t.relation FROM public.threadline_log_tables_v1() t WHERE t.root <> 'public.audit_tables'::regclass ORDER BY t.level
    LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = guarded AND tgname = 'threadline_guard') THEN
            -- A table that became a partition has a guard of its own, and gets that of the whole table instead.
            FOR partition, name IN
                SELECT t.tgrelid, t.tgname FROM pg_partition_tree(guarded) p JOIN pg_trigger t ON t.tgrelid = p.relid
                WHERE t.tgname IN ('threadline_guard', 'threadline_guard_update') AND t.tgparentid = 0
            LOOP
                EXECUTE format('DROP TRIGGER %I ON %s', name, partition);
            END LOOP;
            IF root = 'public.audit_transactions'::regclass THEN
                -- Before an UPDATE, PostgreSQL would lock the row for the trigger, and a lock says that there is a commit marker.
                EXECUTE format('CREATE TRIGGER threadline_guard BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION public.threadline_guard_v1()', guarded);
                EXECUTE format('CREATE TRIGGER threadline_guard_update AFTER UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION public.threadline_guard_v1()', guarded);
            ELSE
                EXECUTE format('CREATE TRIGGER threadline_guard BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION public.threadline_guard_v1()', guarded);
            END IF;
        END IF;
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = guarded AND tgname = 'threadline_guard_truncate') THEN
            EXECUTE format('CREATE TRIGGER threadline_guard_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION public.threadline_guard_v1()', guarded);
        END IF;
        IF root = 'public.audit_transactions'::regclass THEN
            SELECT pg_get_userbyid(c.relowner)::text INTO owner FROM pg_class c WHERE c.oid = guarded;
            IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = guarded AND tgname = 'threadline_guard_insert' AND pg_get_triggerdef(oid) LIKE format('%%(%s)', quote_literal(owner))) THEN
                EXECUTE format('DROP TRIGGER IF EXISTS threadline_guard_insert ON %s', guarded);
                EXECUTE format('CREATE TRIGGER threadline_guard_insert BEFORE INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION public.threadline_guard_insert_v1(%L)', guarded, owner);
            END IF;
            CONTINUE;
        END IF;
        FOREACH command IN ARRAY ARRAY['select', 'update', 'delete'] LOOP
            IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = guarded AND polname = 'threadline_' || command) THEN
                EXECUTE format('CREATE POLICY threadline_%1$s ON %2$s FOR %1$s USING (true)', command, guarded);
            END IF;
        END LOOP;
        IF NOT (SELECT c.relrowsecurity FROM pg_class c WHERE c.oid = guarded) THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', guarded);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_tables'::regclass AND tgname = 'threadline_guard') THEN
        CREATE TRIGGER threadline_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.audit_tables
            FOR EACH STATEMENT EXECUTE FUNCTION public.threadline_guard_v1();
    END IF;
END $$;

-- The rights on a log, as they are documented: its owner has all of them, threadline_reader may read, threadline_retention
-- may delete, threadline_recorder may record actions, and nobody else has any, whatever default privileges or an earlier
-- GRANT say. An application needs none to be captured. Of roles that don't exist, the owner has the rights.
CREATE OR REPLACE FUNCTION public.threadline_rights_v1() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held pg_catalog.record;
BEGIN
    FOR held IN
        WITH relation AS (
            SELECT c.oid, c.relkind, c.relname::text AS name, c.relowner AS owner, c.relacl AS acl
            FROM pg_class c
            WHERE c.oid IN (SELECT t.relation FROM public.threadline_log_tables_v1() t
                UNION ALL SELECT unnest(ARRAY['public.audit_changes_id_seq', pg_get_serial_sequence('public.audit_tables', 'id')]::regclass[]))),
        object AS (
            SELECT CASE r.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, r.oid::regclass::text AS name, r.owner, a.grantee, a.is_grantable,
                CASE WHEN r.relkind = 'S' THEN NULL WHEN a.privilege_type = 'SELECT' THEN '{threadline_reader,threadline_retention}'::text[]
                    WHEN a.privilege_type = 'DELETE' AND r.name <> 'audit_tables' THEN '{threadline_retention}' END AS meant_for
            FROM relation r, aclexplode(r.acl) a
            UNION ALL
            -- Revoking a right on a table revokes it on its columns.
            SELECT 'TABLE', r.oid::regclass::text, r.owner, a.grantee, true, NULL
            FROM relation r JOIN pg_attribute t ON t.attrelid = r.oid, aclexplode(t.attacl) a
            UNION ALL
            SELECT 'ROUTINE', p.oid::regprocedure::text, p.proowner, a.grantee, a.is_grantable, public.threadline_meant_for_v1(p.oid)
            FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            WHERE p.pronamespace = 'public'::regnamespace AND left(p.proname, 11) = 'threadline_')
        SELECT DISTINCT o.kind, o.name, CASE o.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(o.grantee)) END AS grantee
        FROM object o
        WHERE o.grantee <> o.owner AND (o.is_grantable OR pg_get_userbyid(o.grantee)::text <> ALL (coalesce(o.meant_for, '{}')))
    LOOP
        EXECUTE format('REVOKE ALL ON %s %s FROM %s CASCADE', held.kind, held.name, held.grantee);
    END LOOP;

    FOR held IN
        SELECT g.privileges || ' ON ' || g.target AS granted, quote_ident(r.rolname) AS role
        FROM (
            SELECT r.role, CASE WHEN r.role = 'threadline_reader' OR t.relation = 'public.audit_tables'::regclass THEN 'SELECT' ELSE 'SELECT, DELETE' END AS privileges,
                t.relation::text AS target
            FROM unnest(ARRAY['threadline_reader', 'threadline_retention']) r(role), public.threadline_log_tables_v1() t WHERE t.level = 0
            UNION ALL
            SELECT m.role, 'EXECUTE', 'FUNCTION ' || p.oid::regprocedure::text
            FROM pg_proc p, unnest(public.threadline_meant_for_v1(p.oid)) m(role)
            WHERE p.pronamespace = 'public'::regnamespace AND left(p.proname, 11) = 'threadline_'
        ) g JOIN pg_roles r ON r.rolname = g.role
    LOOP
        EXECUTE format('GRANT %s TO %s', held.granted, held.role);
    END LOOP;
END $$;

-- Who besides the owner may call a function of the log. Readers: what neither writes nor runs with more rights than its
-- caller, which is what STABLE and IMMUTABLE say of ours, and the few that say otherwise because they run SQL that is made at
-- run time or lock rows of the caller's. Recorders: what an application calls.
CREATE OR REPLACE FUNCTION public.threadline_meant_for_v1(routine oid) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_remove(ARRAY[
        CASE WHEN NOT p.prosecdef AND p.prorettype <> 'trigger'::regtype AND (p.provolatile <> 'v'
            OR p.proname = ANY ('{threadline_live,threadline_revert,threadline_run_v1,threadline_undone_v1}')) THEN 'threadline_reader' END,
        -- Who creates or attaches a partition gives it the triggers of the table.
        (SELECT pg_get_userbyid(c.relowner)::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE t.tgfoid = p.oid AND t.tgparentid = 0 AND c.relkind = 'p' AND c.relowner <> p.proowner LIMIT 1),
        CASE WHEN p.proname = ANY ('{threadline_record_action_v1,threadline_transaction_v1,threadline_transaction_id_v1}') THEN 'threadline_recorder' END], NULL)
    FROM pg_proc p WHERE p.oid = routine
$$;

-- Hands the log to a role, with the schema that it is in if that is its own, and puts rights and guards right. Run it as a
-- member of that role, after a restore or to change the owner:
--
--   SELECT threadline_protect_v1('threadline_owner');
CREATE OR REPLACE FUNCTION public.threadline_protect_v1(log_owner text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owner CONSTANT pg_catalog.oid := (SELECT r.oid FROM pg_roles r WHERE r.rolname = log_owner);
    place pg_catalog.record;
    object pg_catalog.record;
BEGIN
    IF owner IS NULL THEN
        RAISE EXCEPTION 'threadline: role % does not exist', log_owner USING ERRCODE = 'undefined_object';
    END IF;
    SELECT n.oid, quote_ident(n.nspname) AS name, n.nspowner, r.rolsuper INTO place
    FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.oid = 'public'::regnamespace;
    -- 2200 is the schema that every database begins with, which belongs to the database and not to the log.
    IF place.oid <> 2200 AND place.nspowner <> owner AND pg_has_role(current_user, place.nspowner, 'USAGE')
        AND has_database_privilege(current_database(), 'CREATE')
    THEN
        EXECUTE format('ALTER SCHEMA %s OWNER TO %I', place.name, log_owner);
    END IF;
    IF NOT has_schema_privilege(owner, place.oid, 'USAGE') OR NOT has_schema_privilege(owner, place.oid, 'CREATE') THEN
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %s TO %I', place.name, log_owner);
    END IF;
    -- Without the right to grant it, GRANT only warns. Nothing can be given to a role that may not create it there.
    IF NOT has_schema_privilege(owner, place.oid, 'CREATE') THEN
        RAISE EXCEPTION E'threadline: role % is to own the log and may not create objects in schema %\nLet the owner of the schema run: GRANT USAGE, CREATE ON SCHEMA % TO %;',
            log_owner, place.name, place.name, quote_ident(log_owner) USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- Before its functions are somebody else's.
    IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = owner) THEN
        PERFORM public.threadline_arm_ddl_guard_v1(owner);
    END IF;
    FOR object IN
        SELECT 'TABLE' AS kind, t.relation::text AS name FROM public.threadline_log_tables_v1() t JOIN pg_class c ON c.oid = t.relation
        WHERE c.relowner <> owner
        UNION ALL
        SELECT 'ROUTINE', p.oid::regprocedure::text FROM pg_proc p
        WHERE p.proowner <> owner AND p.pronamespace = place.oid AND left(p.proname, 11) = 'threadline_'
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO %I', object.kind, object.name, log_owner);
    END LOOP;
    PERFORM public.threadline_guard_tables_v1();
    PERFORM public.threadline_rights_v1();
    PERFORM public.threadline_check_place_v1(ARRAY[owner]);
    PERFORM public.threadline_arm_ddl_guard_v1(owner);
END $$;

-- The same for the log as it is; while it is being installed, for the role that `threadline install --owner` names. Run it
-- again after adding a partition to a table of the log.
CREATE OR REPLACE FUNCTION public.threadline_protect_v1() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT public.threadline_protect_v1(coalesce(nullif(current_setting('threadline.log_owner', true), ''), pg_get_userbyid(c.relowner)::text))
    FROM pg_class c WHERE c.oid = 'public.audit_changes'::regclass
$$;

-- Capture is off for this transaction (SET LOCAL threadline.capture = 'off'): only members of threadline_bypass may do that,
-- whatever role they act as. The gap is noted, and by whom; the table has no horizon until its next baseline.
CREATE OR REPLACE FUNCTION public.threadline_bypass_v1(target integer, target_schema text, target_name text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'threadline_bypass' AND pg_has_role(session_user, r.oid, 'MEMBER')) THEN
        RAISE EXCEPTION 'threadline: % may not switch off the capture of %.%', session_user, target_schema, target_name
            USING ERRCODE = 'insufficient_privilege',
                  HINT = format('RESET threadline.capture, or let an administrator run: GRANT threadline_bypass TO %I;', session_user);
    END IF;
    -- A gap that is open while the table is captured is this transaction's own, and ends when it commits.
    IF EXISTS (SELECT FROM public.audit_tables t WHERE t.id = target AND t.installed_at IS NOT NULL AND upper_inf(t.gaps[cardinality(t.gaps)])) THEN
        RETURN;
    END IF;
    PERFORM public.threadline_enter_v1(public.threadline_transaction_id_v1(), coalesce(current_setting('threadline.actor_ref', true), ''),
        NULL::pg_catalog.text, target_schema, target_name);
    PERFORM public.threadline_record_action_v1('threadline.capture_off'::pg_catalog.text, NULL::pg_catalog.jsonb, 'ok'::pg_catalog.text, NULL::pg_catalog.text,
        'threadline'::pg_catalog.text, NULL::pg_catalog.text, target_schema || '.' || target_name, NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text, false);
    UPDATE public.audit_tables t SET gaps = t.gaps || tstzrange(statement_timestamp(), NULL), horizon = NULL WHERE t.id = target;
END $$;

CREATE OR REPLACE FUNCTION public.threadline_end_gap_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_RELID <> 'public.audit_tables'::regclass AND pg_partition_root(TG_RELID) IS DISTINCT FROM 'public.audit_tables'::regclass THEN
        RAISE EXCEPTION 'threadline: threadline_end_gap_v1 serves public.audit_tables and no other table' USING ERRCODE = 'insufficient_privilege';
    END IF;
    UPDATE public.audit_tables t
    SET gaps = t.gaps[:cardinality(t.gaps) - 1] || tstzrange(lower(t.gaps[cardinality(t.gaps)]), clock_timestamp(), '[]')
    WHERE t.id = NEW.id AND t.installed_at IS NOT NULL AND upper_inf(t.gaps[cardinality(t.gaps)]);
    RETURN NULL;
END $$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_tables'::regclass AND tgname = 'threadline_end_gap') THEN
        CREATE CONSTRAINT TRIGGER threadline_end_gap AFTER UPDATE ON public.audit_tables
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.gaps <> OLD.gaps AND NEW.installed_at IS NOT NULL)
            EXECUTE FUNCTION public.threadline_end_gap_v1();
    END IF;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_guard_tables_v1(),
    public.threadline_rights_v1(),
    public.threadline_protect_v1(),
    public.threadline_protect_v1(text),
    public.threadline_bypass_v1(integer, text, text),
    public.threadline_end_gap_v1()
FROM PUBLIC;

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

-- The DDL guard: event triggers that note what DDL does to audited tables as it happens, so that it is known when. Without them
-- capture and reads find it later, and what lies between is unknown.

-- The captured tables that relations are, or are a part of: partitions, and tables that inherit. All of them if NULL. Of a restored
-- copy, whose numbers are others, and of what capture itself is changing, the guard knows nothing.
CREATE OR REPLACE FUNCTION public.threadline_touched_v1(relations oid[]) RETURNS SETOF public.audit_tables
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    above CONSTANT pg_catalog.oid[] := ARRAY(
        WITH RECURSIVE above(oid) AS (
            SELECT unnest(relations)
            UNION
            SELECT i.inhparent FROM above JOIN pg_catalog.pg_inherits i ON i.inhrelid = above.oid)
        SELECT a.oid FROM above a);
BEGIN
    RETURN QUERY SELECT t.* FROM public.audit_tables t
    WHERE t.installed_at IS NOT NULL AND NOT t.identity ? 'changing'
        AND (relations IS NULL OR t.identity -> 'tree' ?| above::text[])
        AND t.identity -> 'log' = to_jsonb('public.audit_changes'::regclass::oid::bigint)
        AND t.identity ->> 'cluster' = (SELECT s.system_identifier::text FROM pg_control_system() s)
    ORDER BY t.id;
END $$;

-- Notes what a command did to audited tables, and records it as an action. Refuses what would end their capture without a word.
CREATE OR REPLACE FUNCTION public.threadline_guard_ddl_v1(tag text, relations oid[]) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    mode CONSTANT pg_catalog.text := coalesce(nullif(current_setting('threadline.ddl', true), ''), 'gap');
    entry public.audit_tables;
    relation pg_catalog.regclass;
    name pg_catalog.text;
    present pg_catalog.jsonb;
    unknown pg_catalog.text[];
BEGIN
    IF relations = '{}' THEN
        RETURN;
    END IF;
    FOR entry IN SELECT t.* FROM public.threadline_touched_v1(relations) t LOOP
        IF mode NOT IN ('gap', 'refuse') THEN
            RAISE EXCEPTION E'threadline: threadline.ddl is gap or refuse, not %\nRESET threadline.ddl, or set it to one of them.', mode USING ERRCODE = 'invalid_parameter_value';
        END IF;
        name := format('%I.%I', entry.table_schema, entry.table_name);
        relation := (SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid = (entry.identity ->> 'relation')::oid);
        present := public.threadline_identity_v1(relation);
        IF relation IS NULL OR NOT public.threadline_is_captured_v1(relation) OR EXISTS (
            SELECT FROM jsonb_object_keys(entry.identity -> 'triggers') t WHERE present -> 'tree' ? substring(t, '^[0-9]+') AND NOT present -> 'triggers' ? t)
        THEN
            RAISE EXCEPTION E'threadline: % would end the capture of table %, and its history would not say so\nFirst run: SELECT public.threadline_release(%);', tag, name, quote_literal(name)
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        -- Whatever was done since the table was looked at last came by here, if it was this guard that it was looked at under.
        unknown := public.threadline_note_v1(relation, entry.id, CASE WHEN entry.identity -> 'guard' = present -> 'guard' AND present -> 'guard' <> 'null' THEN clock_timestamp() END);
        IF mode = 'refuse' AND unknown <> '{}' THEN
            RAISE EXCEPTION E'threadline: after % it would be unknown what table % had before: %\nIf it may be: SET LOCAL threadline.ddl = ''gap'';', tag, name, array_to_string(unknown, ', ')
                USING ERRCODE = 'object_not_in_prerequisite_state';
        END IF;
        BEGIN
            PERFORM public.threadline_record_action_v1('threadline.ddl'::pg_catalog.text, NULL::pg_catalog.jsonb, 'ok'::pg_catalog.text, lower(tag COLLATE "C"),
                'threadline'::pg_catalog.text, nullif(array_to_string(unknown, ', '), ''), entry.table_schema || '.' || entry.table_name,
                NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text, false);
        EXCEPTION WHEN program_limit_exceeded THEN
            NULL; -- a transaction has 10,000 actions, and may have more DDL
        END;
    END LOOP;
END $$;

-- After a command: what it made and altered. Of a schema, all tables; of a type, the tables that are made of it.
CREATE OR REPLACE FUNCTION public.threadline_ddl_end() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM public.threadline_guard_ddl_v1(TG_TAG, ARRAY(
        SELECT coalesce((SELECT i.indrelid FROM pg_index i WHERE i.indexrelid = d.objid), d.objid)
        FROM pg_event_trigger_ddl_commands() d WHERE d.classid = 'pg_class'::regclass AND d.schema_name IS DISTINCT FROM 'pg_temp'
        UNION SELECT t.tgrelid FROM pg_event_trigger_ddl_commands() d JOIN pg_trigger t ON t.oid = d.objid WHERE d.classid = 'pg_trigger'::regclass
        UNION SELECT c.oid FROM pg_event_trigger_ddl_commands() d JOIN pg_class c ON c.reloftype = d.objid WHERE d.classid = 'pg_type'::regclass
        UNION SELECT c.oid FROM pg_event_trigger_ddl_commands() d JOIN pg_class c ON c.relnamespace = d.objid
            WHERE d.classid = 'pg_namespace'::regclass AND d.command_tag = 'ALTER SCHEMA'));
END $$;

-- After things were dropped: the tables that they were, or were a part of. That of an index is no longer known. ALTER TABLE is
-- told of by the other trigger.
CREATE OR REPLACE FUNCTION public.threadline_ddl_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_TAG = 'ALTER TABLE' THEN
        RETURN;
    END IF;
    PERFORM public.threadline_guard_ddl_v1(TG_TAG, CASE
        WHEN NOT EXISTS (SELECT FROM pg_event_trigger_dropped_objects() d WHERE d.original AND d.object_type = 'index' AND NOT d.is_temporary) THEN ARRAY(
            SELECT CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid ELSE to_regclass(format('%I.%I', d.address_names[1], d.address_names[2]))::oid END
            FROM pg_event_trigger_dropped_objects() d
            WHERE d.classid IN ('pg_class'::regclass, 'pg_trigger'::regclass, 'pg_constraint'::regclass) AND NOT d.is_temporary) END);
END $$;

-- Installs the guard where it may be. Its functions run as the owner of the log, called by whoever alters a table: a superuser, maybe.
-- So that owner has to be one, who could do what he wants anyway.
CREATE OR REPLACE FUNCTION public.threadline_arm_ddl_guard_v1(log_owner oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    may_be CONSTANT boolean := (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = log_owner);
BEGIN
    IF may_be = EXISTS (SELECT FROM pg_event_trigger e WHERE e.evtname = 'threadline_ddl_end') THEN
        RETURN;
    ELSIF may_be THEN
        CREATE EVENT TRIGGER threadline_ddl_end ON ddl_command_end EXECUTE FUNCTION public.threadline_ddl_end();
        CREATE EVENT TRIGGER threadline_ddl_drop ON sql_drop EXECUTE FUNCTION public.threadline_ddl_drop();
        -- In replica mode, too.
        ALTER EVENT TRIGGER threadline_ddl_end ENABLE ALWAYS;
        ALTER EVENT TRIGGER threadline_ddl_drop ENABLE ALWAYS;
    ELSE
        DROP EVENT TRIGGER threadline_ddl_end;
        DROP EVENT TRIGGER threadline_ddl_drop;
    END IF;
END $$;

REVOKE ALL ON FUNCTION
    public.threadline_touched_v1(oid[]),
    public.threadline_guard_ddl_v1(text, oid[]),
    public.threadline_ddl_end(),
    public.threadline_ddl_drop(),
    public.threadline_arm_ddl_guard_v1(oid)
FROM PUBLIC;

-- Everything is there: its owner, its rights and its guards, as they are documented.
SELECT public.threadline_protect_v1();

DO $$
DECLARE
    log_owner CONSTANT pg_catalog.regrole := (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = 'public.audit_changes'::regclass);
BEGIN
    IF NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = log_owner) THEN
        RAISE NOTICE E'threadline: no DDL guard, since role % is no superuser\nWhat DDL does to an audited table is found when it is next captured. Call threadline_note() before and after such DDL.', log_owner;
    END IF;
END $$;
