-- Actions: what the application did, and why.

SET LOCAL lock_timeout = '2s';

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
    tx pg_catalog.uuid := public.threadline_transaction_id_v1();
    actor pg_catalog.jsonb := coalesce(public.threadline_actor_v1(actor_ref::text), public.threadline_actor_v1(current_setting('threadline.actor_ref', true)));
    ordinal integer := 0;
    action pg_catalog.uuid;
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

REVOKE ALL ON FUNCTION public.threadline_require_changes_v1() FROM PUBLIC;
