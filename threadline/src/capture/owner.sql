-- The log belongs to a role that nobody logs in as, so that no application can alter it. Whoever migrates is a member.
DO $$
DECLARE
    missing boolean := false;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :owner) THEN
        missing := true;
        EXECUTE format('CREATE ROLE %I NOLOGIN', :owner);
    END IF;
    IF NOT pg_catalog.pg_has_role(current_user, :owner, 'USAGE') THEN
        EXECUTE format('GRANT %I TO CURRENT_USER', :owner);
    END IF;
    -- What is found in the schema may be of this role.
    PERFORM set_config('threadline.log_owner', :owner, true);
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION E'threadline: % can''t make role % the owner of the log: %\nLet an administrator run: %', current_user, :owner, SQLERRM,
        format(CASE WHEN missing THEN 'CREATE ROLE %1$I NOLOGIN; GRANT %1$I TO %2$I;' ELSE 'GRANT %1$I TO %2$I;' END, :owner, current_user)
        USING ERRCODE = 'insufficient_privilege';
END $$;

