-- Who is writing: one audit_transactions row for each transaction, and the seal of its commit.

SET LOCAL lock_timeout = '2s';

-- The id of a transaction is computed, never looked up: its start as PostgreSQL keeps it (microseconds since 2000), then its
-- transaction id. A dump restored into a younger cluster can't collide with it, and no setting of the session is trusted
-- with it.
CREATE OR REPLACE FUNCTION public.threadline_transaction_id_v1() RETURNS uuid
LANGUAGE sql STABLE
AS $$ SELECT encode(timestamptz_send(transaction_timestamp()) || xid8send(pg_current_xact_id()), 'hex')::uuid $$;

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
        actor := setting::jsonb;
    EXCEPTION WHEN data_exception OR statement_too_complex THEN
        actor := NULL;
    END;
    IF jsonb_typeof(actor) = 'object' AND actor - '{type,id}'::text[] = '{}' AND jsonb_typeof(actor -> 'type') = 'string'
        AND (CASE WHEN actor ->> 'type' IN ('user', 'admin', 'service_account', 'job', 'system') THEN
            jsonb_typeof(actor -> 'id') = 'string' AND length(actor ->> 'id') BETWEEN 1 AND 255
            AND actor ->> 'id' !~ '[\u0001-\u001f\u007f-\u009f]'
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
    IF jsonb_typeof(setting::jsonb) = 'object' THEN
        RETURN setting::jsonb;
    END IF;
    RAISE data_exception;
EXCEPTION WHEN data_exception OR statement_too_complex THEN
    RAISE EXCEPTION 'threadline: the setting threadline.meta does not hold a JSON object'
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Expected an object, such as {"ticket": "A-7"}, or nothing.';
END $$;

-- Actions have ids that are computed from the transaction, so that a transaction can only ever name its own.
CREATE OR REPLACE FUNCTION public.threadline_action_id_v1(tx uuid, ordinal integer) RETURNS uuid
LANGUAGE sql IMMUTABLE
AS $$ SELECT md5(tx::text || '/' || ordinal)::uuid $$;

-- Makes sure that the transaction has its row and its actor. `known` is what threadline.open said. Whether the transaction
-- may be sealed already, so that what is captured now has to seal it again.
CREATE OR REPLACE FUNCTION public.threadline_open_v1(tx uuid, setting text, known text) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    actor pg_catalog.jsonb := public.threadline_actor_v1(setting);
    stored pg_catalog.jsonb;
    mark pg_catalog.text; -- assigned, because PERFORM costs a query
BEGIN
    -- Neither open nor sealed: the seal, if it fires with this statement, leaves its mark on it.
    mark := set_config('threadline.open', '?', true);
    INSERT INTO public.audit_transactions
        (id, txid, occurred_at, source, meta, actor_ref, action_id, request_id, correlation_id, job_id,
         session_user_name, role_name, application_name, client_address)
    VALUES
        (tx, pg_current_xact_id(), clock_timestamp(), left(nullif(current_setting('threadline.source', true), ''), 255),
         public.threadline_meta_v1(current_setting('threadline.meta', true)), actor,
         -- The setting says only that an action came first: its id is computed, so that no other can be claimed.
         CASE WHEN current_setting('threadline.actions', true) <> '' THEN public.threadline_action_id_v1(tx, 1) END,
         left(nullif(current_setting('threadline.request_id', true), ''), 255),
         left(nullif(current_setting('threadline.correlation_id', true), ''), 255),
         left(nullif(current_setting('threadline.job_id', true), ''), 255),
         session_user, nullif(current_setting('role'), 'none'), current_setting('application_name'), inet_client_addr())
    ON CONFLICT (id) DO NOTHING;
    IF FOUND THEN
        RETURN current_setting('threadline.open') = ''; -- constraints are immediate, and the seal came with the row
    END IF;
    SELECT actor_ref INTO stored FROM public.audit_transactions WHERE id = tx;
    IF stored IS NULL AND actor IS NOT NULL THEN
        UPDATE public.audit_transactions SET actor_ref = actor WHERE id = tx;
    ELSIF stored <> actor THEN
        RAISE EXCEPTION 'threadline: this transaction writes as % and can''t go on as %', stored, actor
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Commit first: a transaction has one actor.';
    END IF;
    RETURN left(known, 36) <> tx::text;
END $$;

-- Refuses a write to a table that requires an actor.
CREATE OR REPLACE FUNCTION public.threadline_require_actor_v1(tx uuid, setting text, required text, target text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    actor pg_catalog.jsonb := public.threadline_actor_v1(setting);
BEGIN
    IF actor IS NULL THEN
        SELECT actor_ref INTO actor FROM public.audit_transactions WHERE id = tx;
    END IF;
    IF actor IS NULL OR (required = 'known' AND actor ->> 'type' = 'anonymous') THEN
        RAISE EXCEPTION 'threadline: table % requires %', target,
            CASE required WHEN 'known' THEN 'an actor who is known' ELSE 'an actor' END
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Write inside threadline::transaction, or SELECT set_config(''threadline.actor_ref'', ''{"type": "user", "id": "42"}'', true) first.';
    END IF;
END $$;

-- Makes sure that the transaction may write to a table and is open. `known` is what threadline.open says, `command` tells
-- the writing command from others of the same statement, with a 'd' before it if it deletes; NULL if it isn't known. Returns
-- what is known of the transaction:
--   '-'  this command is the first of the client's statement that is captured, or all of them only delete
--   '+'  it is not: a trigger or a function wrote in the middle of it, so that events may have overtaken each other
--   '!'  the transaction may be sealed already, so that what is captured now has to seal it again
-- That and the command are remembered in threadline.open, the statement in threadline.statement.
CREATE OR REPLACE FUNCTION public.threadline_enter_v1(
    tx uuid, setting text, known text, command text, required text, target_schema text, target_name text
) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    last CONSTANT pg_catalog.text := split_part(known, E'\x01', 2);
    state pg_catalog.text := '-';
    mark pg_catalog.text; -- assigned, because PERFORM costs a query
BEGIN
    IF required IS NOT NULL THEN
        PERFORM public.threadline_require_actor_v1(tx, setting, required, target_schema || '.' || target_name);
    END IF;
    IF known = tx::text || '-' || setting || E'\x01' || command THEN
        RETURN '-';
    ELSIF left(known, 36) <> tx::text OR substr(known, 38, length(setting) + 1) <> setting || E'\x01' THEN
        IF public.threadline_open_v1(tx, setting, known) THEN
            RETURN '!';
        END IF;
    END IF;
    -- Something of this transaction was captured before, in the same statement.
    IF left(known, 36) = tx::text AND current_setting('threadline.statement', true) = statement_timestamp()::text THEN
        IF substr(known, 37, 1) = '-' AND (last LIKE 'd%' AND command LIKE 'd%' OR ltrim(last, 'd') = ltrim(command, 'd')) THEN
            -- One that also writes rows counts as such to the end.
            command := CASE WHEN last LIKE 'd%' THEN command ELSE last END;
        ELSE
            state := '+';
        END IF;
    END IF;
    mark := set_config('threadline.statement', statement_timestamp()::text, true)
        || set_config('threadline.open', tx::text || state || setting || E'\x01' || CASE state WHEN '-' THEN coalesce(command, '?') ELSE '' END, true);
    RETURN state;
END $$;

-- The commit seal. It runs when the transaction commits, so committed_at is within the commit itself.
CREATE OR REPLACE FUNCTION public.threadline_seal_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mark pg_catalog.text;
BEGIN
    INSERT INTO public.audit_commits (transaction_id, occurred_at, committed_at) VALUES (NEW.id, NEW.occurred_at, clock_timestamp());
    -- What is captured from now on doesn't find the transaction open, and seals it again.
    mark := set_config('threadline.open', '', true);
    RETURN NULL;
END $$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_transactions'::regclass AND tgname = 'threadline_seal') THEN
        CREATE CONSTRAINT TRIGGER threadline_seal AFTER INSERT ON public.audit_transactions
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.threadline_seal_v1();
    END IF;
END $$;

-- Seals a transaction that wrote on after its seal: the last one counts.
CREATE OR REPLACE FUNCTION public.threadline_seal_again_v1(tx uuid) RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO public.audit_commits SELECT id, occurred_at, clock_timestamp() FROM public.audit_transactions WHERE id = tx
$$;

REVOKE ALL ON FUNCTION
    public.threadline_open_v1(uuid, text, text),
    public.threadline_require_actor_v1(uuid, text, text, text),
    public.threadline_enter_v1(uuid, text, text, text, text, text, text),
    public.threadline_seal_v1(),
    public.threadline_seal_again_v1(uuid)
FROM PUBLIC;
