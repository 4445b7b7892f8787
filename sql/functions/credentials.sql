-- The credentials that tenants may name as pg:<name>: for which provider, and for which tenants. Never what else is in them.
-- Called by: operators, jtd-worker credential list.  Locks: nothing.
-- tenants: a list of ids, or "*" for all. A secret of the vault that is no JSON object is told with NULL for both.
CREATE OR REPLACE FUNCTION jtd.credentials() RETURNS TABLE (name text, provider text, tenants jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    kept text;
    document jsonb;
BEGIN
    IF to_regclass('vault.decrypted_secrets') IS NULL THEN
        RETURN QUERY SELECT c.name, c.document ->> 'provider', c.document -> 'tenants' FROM jtd.credentials AS c ORDER BY c.name;
        RETURN;
    END IF;
    FOR name, kept IN EXECUTE $query$
        SELECT substring(s.name FROM 16), s.decrypted_secret FROM vault.decrypted_secrets AS s
        WHERE starts_with(s.name, 'jtd_credential_') ORDER BY s.name
        $query$
    LOOP
        BEGIN
            document := kept::jsonb;
        EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
            document := NULL;
        END;
        provider := document ->> 'provider';
        tenants := document -> 'tenants';
        RETURN NEXT;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.credentials() FROM PUBLIC;
