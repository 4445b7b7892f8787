-- Keeps a document under a name for tenants who name it as pg:<name>, in place of the one before; true when there was one.
-- Called by: operators, jtd-worker credential put.  Locks: its row.
-- In Supabase's vault where there is one, as jtd.credential_v1. A name that is none: JT080.
CREATE OR REPLACE FUNCTION jtd.put_credential(p_name text, p_document jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept uuid;
BEGIN
    IF p_name IS NULL OR p_name !~ '^[a-z0-9][a-z0-9._-]{0,39}$' OR p_document IS NULL OR jsonb_typeof(p_document) <> 'object'
        OR octet_length(p_document::text) > 65536
    THEN
        RAISE EXCEPTION 'a credential has a name of up to 40 of a-z 0-9 . _ - and a JSON object of up to 64 KiB'
            USING ERRCODE = 'JT080', HINT = 'The object is not shown, since it holds secrets.';
    END IF;
    IF to_regclass('vault.decrypted_secrets') IS NOT NULL THEN
        EXECUTE 'SELECT s.id FROM vault.decrypted_secrets AS s WHERE s.name = $1' INTO kept USING 'jtd_credential_' || p_name;
        IF kept IS NULL THEN
            EXECUTE 'SELECT vault.create_secret($1, $2)' USING p_document::text, 'jtd_credential_' || p_name;
        ELSE
            EXECUTE 'SELECT vault.update_secret($1, $2)' USING kept, p_document::text;
        END IF;
        RETURN kept IS NOT NULL;
    END IF;
    UPDATE jtd.credentials AS c SET document = p_document, updated_at = now() WHERE c.name = p_name;
    IF FOUND THEN
        RETURN true;
    END IF;
    INSERT INTO jtd.credentials AS c (name, document) VALUES (p_name, p_document)
    ON CONFLICT (name) DO UPDATE SET document = excluded.document, updated_at = now();
    RETURN false;
END
$$;
REVOKE ALL ON FUNCTION jtd.put_credential(text, jsonb) FROM PUBLIC;
