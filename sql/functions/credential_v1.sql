-- The document of a credential that a tenant may name as pg:<name>; NULL when there is none.
-- Called by: the worker, about once a minute for each in use.  Locks: nothing.
-- It is the secret jtd_credential_<name> of Supabase's vault where there is one, else a row of jtd.credentials: with the
-- prefix no other secret of the vault can be named.
CREATE OR REPLACE FUNCTION jtd.credential_v1(p_name text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    document text;
BEGIN
    IF to_regclass('vault.decrypted_secrets') IS NULL THEN
        RETURN (SELECT c.document::text FROM jtd.credentials AS c WHERE c.name = p_name);
    END IF;
    EXECUTE 'SELECT s.decrypted_secret FROM vault.decrypted_secrets AS s WHERE s.name = $1'
        INTO document USING 'jtd_credential_' || p_name;
    RETURN document;
END
$$;
REVOKE ALL ON FUNCTION jtd.credential_v1(text) FROM PUBLIC;
