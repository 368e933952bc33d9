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
