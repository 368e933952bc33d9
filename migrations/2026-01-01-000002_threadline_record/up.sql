-- The recorder: who is writing, one audit_transactions row for each transaction, one audit_changes row for each change.

SET LOCAL lock_timeout = '2s';

-- The id of a transaction is computed, never looked up: its start in microseconds, then its transaction id. A dump
-- restored into a younger cluster can't collide with it, and no setting of the session is trusted with it.
CREATE OR REPLACE FUNCTION public.threadline_transaction_id_v1() RETURNS uuid
LANGUAGE sql STABLE
AS $$
    SELECT (lpad(to_hex((extract(epoch FROM transaction_timestamp()) * 1000000)::bigint), 16, '0')
        || lpad(to_hex(pg_current_xact_id()::text::bigint), 16, '0'))::uuid
$$;

-- Reads an actor and refuses what isn't one.
CREATE OR REPLACE FUNCTION public.threadline_actor_v1(setting text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    actor jsonb;
    kind text;
BEGIN
    IF setting IS NULL OR setting = '' THEN
        RETURN NULL;
    END IF;
    BEGIN
        actor := setting::jsonb;
    EXCEPTION WHEN data_exception OR statement_too_complex THEN
        actor := NULL;
    END;
    IF jsonb_typeof(actor) = 'object' AND actor - '{type,id}'::text[] = '{}' AND jsonb_typeof(actor -> 'type') = 'string' THEN
        kind := actor ->> 'type';
        IF kind = 'anonymous' AND coalesce(actor -> 'id', 'null') = 'null' THEN
            RETURN '{"type": "anonymous"}';
        END IF;
        IF kind IN ('user', 'admin', 'service_account', 'job', 'system')
            AND jsonb_typeof(actor -> 'id') = 'string' AND length(actor ->> 'id') BETWEEN 1 AND 255
            AND actor ->> 'id' !~ '[\u0001-\u001f\u007f-\u009f]'
        THEN
            RETURN actor;
        END IF;
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

-- Makes sure that the transaction has its row and its actor. Returns what is known of the transaction:
--   '-'  nothing of it was captured from inside a trigger or a function
--   '+'  something was, so that events may have overtaken each other
--   '!'  it may be sealed already, so that what is captured now has to seal it again
CREATE OR REPLACE FUNCTION public.threadline_open_v1(tx uuid, setting text, nested boolean) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    actor jsonb := public.threadline_actor_v1(setting);
    stored jsonb;
    known text := coalesce(current_setting('threadline.open', true), '');
    state text;
BEGIN
    -- Neither open nor sealed: the seal, if it fires with this statement, leaves its mark on it.
    PERFORM set_config('threadline.open', '?', true);
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
        IF current_setting('threadline.open') = '' THEN
            RETURN '!'; -- constraints are immediate, and the seal came with the row
        END IF;
        state := CASE WHEN nested THEN '+' ELSE '-' END;
    ELSE
        SELECT actor_ref INTO stored FROM public.audit_transactions WHERE id = tx;
        IF stored IS NULL AND actor IS NOT NULL THEN
            UPDATE public.audit_transactions SET actor_ref = actor WHERE id = tx;
        ELSIF stored <> actor THEN
            RAISE EXCEPTION 'threadline: this transaction writes as % and can''t go on as %', stored, actor
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Commit first: a transaction has one actor.';
        END IF;
        IF left(known, 37) = tx::text || '-' AND NOT nested THEN
            state := '-';
        ELSIF left(known, 36) = tx::text THEN
            state := '+';
        ELSE
            RETURN '!';
        END IF;
    END IF;
    PERFORM set_config('threadline.open', tx::text || state || coalesce(setting, ''), true);
    RETURN state;
END $$;

-- Refuses a write to a table that requires an actor.
CREATE OR REPLACE FUNCTION public.threadline_require_actor_v1(tx uuid, setting text, required text, target text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    actor jsonb := public.threadline_actor_v1(setting);
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

CREATE OR REPLACE FUNCTION public.threadline_masked_v1(image jsonb, mask jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    masks jsonb;
BEGIN
    SELECT jsonb_object_agg(m.key, m.value) INTO masks FROM jsonb_each(mask) m WHERE image -> m.key <> 'null';
    RETURN image || coalesce(masks, '{}');
END $$;

-- Writes one line of the log. Returns whether events of this transaction may have overtaken each other.
CREATE OR REPLACE FUNCTION public.threadline_append_v1(
    target integer, target_schema text, target_name text, operation text, pk jsonb,
    after jsonb, fields text[], prior jsonb, required text
) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    tx uuid := public.threadline_transaction_id_v1();
    setting text := coalesce(current_setting('threadline.actor_ref', true), '');
    known text := current_setting('threadline.open', true);
    state text;
    stack text;
    nested boolean;
BEGIN
    IF required IS NOT NULL THEN
        PERFORM public.threadline_require_actor_v1(tx, setting, required, target_schema || '.' || target_name);
    END IF;
    IF known = tx::text || '+' || setting THEN
        state := '+';
    ELSE
        -- A function may write in the middle of a statement as a trigger may: UPDATE … RETURNING f(id). A statement of
        -- the client's own has but three lines here: this function, threadline_record_v1 and the trigger's.
        GET DIAGNOSTICS stack = PG_CONTEXT;
        nested := pg_trigger_depth() > 1 OR stack LIKE E'%\n%\n%\n%';
        IF known = tx::text || '-' || setting AND NOT nested THEN
            state := '-';
        ELSE
            state := public.threadline_open_v1(tx, setting, nested);
        END IF;
    END IF;
    INSERT INTO public.audit_changes
        (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk,
         data_after, changed_fields, changed_from)
    VALUES
        (nextval('public.audit_changes_id_seq'), hashtextextended(pk::text, 0), clock_timestamp(), tx, target,
         target_schema, target_name, operation, pk, after, fields, prior);
    IF state = '!' THEN
        INSERT INTO public.audit_commits SELECT id, occurred_at, clock_timestamp() FROM public.audit_transactions WHERE id = tx;
    END IF;
    RETURN state <> '-';
END $$;

-- The key of a row: every key column as text, under its name.
CREATE OR REPLACE FUNCTION public.threadline_key_of_v1(target_schema text, target_name text, key_columns text[], image jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    pk jsonb;
BEGIN
    IF cardinality(key_columns) = 1 THEN
        pk := jsonb_build_object(key_columns[1], image ->> key_columns[1]);
    ELSIF cardinality(key_columns) = 2 THEN
        pk := jsonb_build_object(key_columns[1], image ->> key_columns[1], key_columns[2], image ->> key_columns[2]);
    ELSE
        SELECT jsonb_object_agg(k, image ->> k) INTO pk FROM unnest(key_columns) k;
    END IF;
    IF jsonb_strip_nulls(pk) <> pk THEN
        RAISE EXCEPTION 'threadline: table %.% has no value in its key columns %', target_schema, target_name, key_columns
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'A key column was renamed or dropped: say so in the model (formerly = "old name"), run `threadline generate` and the new migration.';
    END IF;
    RETURN pk;
END $$;

-- Records one row change from its two whole images, and says what is left to do:
--   NULL       nothing was recorded: the row changed, and the images don't show where; pass `changed`
--   ''         nothing
--   'moved'    the key changed: another row may live under the old one
--   'overtaken' a trigger wrote in between: the row's newest version may have been recorded already
CREATE OR REPLACE FUNCTION public.threadline_record_v1(
    target integer, target_schema text, target_name text, key_columns text[], operation text,
    before jsonb, after jsonb, changed text[],
    exclude text[], mask jsonb, except_columns text[], ignore_only text[], store_changed_from boolean, required text
) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    old_key jsonb;
    new_key jsonb;
    prior jsonb;
    hidden text[] := exclude || except_columns;
    nested boolean;
BEGIN
    IF operation <> 'INSERT' THEN
        old_key := public.threadline_key_of_v1(target_schema, target_name, key_columns, before);
    END IF;
    IF operation <> 'DELETE' THEN
        new_key := public.threadline_key_of_v1(target_schema, target_name, key_columns, after);
    END IF;

    IF old_key = new_key THEN
        IF changed IS NULL THEN
            SELECT array_agg(b.key ORDER BY b.key COLLATE "C") INTO changed
            FROM jsonb_each(before) b WHERE (after -> b.key)::text IS DISTINCT FROM b.value::text;
            IF changed IS NULL THEN
                RETURN NULL;
            END IF;
        END IF;
        IF changed <> '{}' AND changed <@ (exclude || ignore_only) THEN
            RETURN '';
        END IF;
        IF hidden <> '{}' THEN
            changed := ARRAY(SELECT f FROM unnest(changed) f WHERE f <> ALL (hidden) ORDER BY f COLLATE "C");
        END IF;
        IF store_changed_from THEN
            SELECT coalesce(jsonb_object_agg(f, before -> f), '{}') INTO prior FROM unnest(changed) f;
        END IF;
    ELSIF operation <> 'INSERT' AND store_changed_from THEN
        prior := before - hidden;
    END IF;

    after := after - exclude;
    IF mask <> '{}' THEN
        after := public.threadline_masked_v1(after, mask);
        prior := public.threadline_masked_v1(prior, mask);
    END IF;

    IF old_key = new_key THEN
        nested := public.threadline_append_v1(target, target_schema, target_name, 'update', new_key, after, changed, prior, required);
    ELSE
        IF operation <> 'INSERT' THEN
            nested := public.threadline_append_v1(target, target_schema, target_name, 'delete', old_key, NULL, NULL, prior, required);
        END IF;
        IF operation <> 'DELETE' THEN
            nested := public.threadline_append_v1(target, target_schema, target_name, 'insert', new_key, after, NULL, NULL, required);
        END IF;
        IF operation = 'UPDATE' THEN
            RETURN 'moved';
        END IF;
    END IF;
    RETURN CASE WHEN nested THEN 'overtaken' ELSE '' END;
END $$;

-- The commit seal. It runs when the transaction commits, so committed_at is within the commit itself.
CREATE OR REPLACE FUNCTION public.threadline_seal_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.audit_commits (transaction_id, occurred_at, committed_at) VALUES (NEW.id, NEW.occurred_at, clock_timestamp());
    -- What is captured from now on doesn't find the transaction open, and seals it again.
    PERFORM set_config('threadline.open', '', true);
    RETURN NULL;
END $$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_transactions'::regclass AND tgname = 'threadline_seal') THEN
        CREATE CONSTRAINT TRIGGER threadline_seal AFTER INSERT ON public.audit_transactions
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.threadline_seal_v1();
    END IF;
END $$;

-- Append-only. Retention identifies itself by acting as the role threadline_retention.
CREATE OR REPLACE FUNCTION public.threadline_guard_v1() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_user = 'threadline_retention' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'audit_transactions' THEN
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

DO $$
DECLARE
    audit_table regclass;
BEGIN
    FOREACH audit_table IN ARRAY ARRAY['public.audit_changes', 'public.audit_transactions', 'public.audit_actions', 'public.audit_commits']::regclass[] LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = audit_table AND tgname = 'threadline_guard') THEN
            EXECUTE format('CREATE TRIGGER threadline_guard BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION public.threadline_guard_v1()', audit_table);
        END IF;
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = audit_table AND tgname = 'threadline_guard_truncate') THEN
            EXECUTE format('CREATE TRIGGER threadline_guard_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION public.threadline_guard_v1()', audit_table);
        END IF;
    END LOOP;
END $$;

-- Actions. Their ids are computed from the transaction, so that a transaction can only ever name its own.
CREATE OR REPLACE FUNCTION public.threadline_action_id_v1(tx uuid, ordinal integer) RETURNS uuid
LANGUAGE sql IMMUTABLE
AS $$ SELECT md5(tx::text || '/' || ordinal)::uuid $$;

-- The audited transaction that is running; NULL while nothing was captured.
CREATE OR REPLACE FUNCTION public.threadline_transaction_v1() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT id FROM public.audit_transactions
    WHERE pg_current_xact_id_if_assigned() IS NOT NULL AND id = public.threadline_transaction_id_v1()
$$;

-- Records what the application did and why, as any role. Links to the transaction in whichever order the two come.
CREATE OR REPLACE FUNCTION public.threadline_record_action_v1(
    name text, actor_ref jsonb DEFAULT NULL, status text DEFAULT 'ok', verb text DEFAULT NULL, category text DEFAULT NULL,
    reason text DEFAULT NULL, comment text DEFAULT NULL, correlation_id text DEFAULT NULL, request_id text DEFAULT NULL,
    job_id text DEFAULT NULL, requires_changes boolean DEFAULT false
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    tx uuid := public.threadline_transaction_id_v1();
    actor jsonb := coalesce(public.threadline_actor_v1(actor_ref::text), public.threadline_actor_v1(current_setting('threadline.actor_ref', true)));
    ordinal integer := 0;
    action uuid;
BEGIN
    IF coalesce(length(name), 0) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'threadline: an action needs a name of 1 to 255 characters' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF status IS NULL OR status NOT IN ('ok', 'error') THEN
        RAISE EXCEPTION 'threadline: the status of action % is ok or error, not %', name, status USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOOP
        ordinal := ordinal + 1;
        action := public.threadline_action_id_v1(tx, ordinal);
        INSERT INTO public.audit_actions
            (id, transaction_id, name, actor_ref, status, verb, category, reason, comment,
             correlation_id, request_id, job_id, requires_changes, inserted_at)
        VALUES
            (action, tx, $1, actor, $3, left($4, 255), left($5, 255), left($6, 4096), left($7, 65536),
             left(coalesce($8, nullif(current_setting('threadline.correlation_id', true), '')), 255),
             left(coalesce($9, nullif(current_setting('threadline.request_id', true), '')), 255),
             left(coalesce($10, nullif(current_setting('threadline.job_id', true), '')), 255),
             coalesce($11, false), clock_timestamp())
        ON CONFLICT (id) DO NOTHING;
        EXIT WHEN FOUND;
    END LOOP;
    IF ordinal = 1 THEN
        UPDATE public.audit_transactions SET action_id = action WHERE id = tx AND action_id IS NULL;
        PERFORM set_config('threadline.actions', '1', true);
    END IF;
    RETURN action;
END $$;

-- An action that asked for the link fails its transaction when there is nothing to link to.
CREATE OR REPLACE FUNCTION public.threadline_require_changes_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM public.audit_transactions WHERE id = NEW.transaction_id) THEN
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

REVOKE ALL ON FUNCTION
    public.threadline_open_v1(uuid, text, boolean),
    public.threadline_require_actor_v1(uuid, text, text, text),
    public.threadline_append_v1(integer, text, text, text, jsonb, jsonb, text[], jsonb, text),
    public.threadline_record_v1(integer, text, text, text[], text, jsonb, jsonb, text[], text[], jsonb, text[], text[], boolean, text),
    public.threadline_seal_v1(),
    public.threadline_require_changes_v1()
FROM PUBLIC;
