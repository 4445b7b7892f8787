-- Takes a credential away; true when there was one. Workers that know it use it for a minute at most.
-- Called by: operators, jtd-worker credential remove.  Locks: its row.
CREATE OR REPLACE FUNCTION jtd.remove_credential(p_name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    number integer;
BEGIN
    IF to_regclass('vault.decrypted_secrets') IS NOT NULL THEN
        EXECUTE 'DELETE FROM vault.secrets AS s WHERE s.name = $1' USING 'jtd_credential_' || p_name;
    ELSE
        DELETE FROM jtd.credentials AS c WHERE c.name = p_name;
    END IF;
    GET DIAGNOSTICS number = ROW_COUNT;
    RETURN number > 0;
END
$$;
REVOKE ALL ON FUNCTION jtd.remove_credential(text) FROM PUBLIC;
