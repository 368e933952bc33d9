-- The log belongs to a role that nobody logs in as, so that no application can alter it. Whoever migrates is a member.
DO $$
DECLARE
    object record;
    missing boolean := false;
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :owner) THEN
            missing := true;
            EXECUTE format('CREATE ROLE %I NOLOGIN', :owner);
        END IF;
        IF NOT pg_catalog.pg_has_role(current_user, :owner, 'USAGE') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', :owner);
        END IF;
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE EXCEPTION E'threadline: % can''t make role % the owner of the log: %\nLet an administrator run: %', current_user, :owner, SQLERRM,
            format(CASE WHEN missing THEN 'CREATE ROLE %1$I NOLOGIN; GRANT %1$I TO %2$I;' ELSE 'GRANT %1$I TO %2$I;' END, :owner, current_user)
            USING ERRCODE = 'insufficient_privilege';
    END;
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %s TO %I', :storage, :owner);
    FOR object IN
        SELECT c.oid::regclass AS name FROM pg_catalog.pg_class c
        WHERE c.relnamespace = :storage::regnamespace
          AND c.relname IN ('audit_tables', 'audit_transactions', 'audit_changes', 'audit_actions', 'audit_commits')
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO %I', object.name, :owner);
    END LOOP;
    FOR object IN
        SELECT p.oid::regprocedure AS name FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = :storage::regnamespace AND p.proname LIKE 'threadline\_%'
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO %I', object.name, :owner);
    END LOOP;
END $$;
