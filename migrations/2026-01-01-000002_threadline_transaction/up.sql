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
