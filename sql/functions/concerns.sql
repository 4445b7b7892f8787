-- Whether a provider may have to do with jobs of a tenant who names a credential: it is the house's, or of that credential.
-- Called by: jtd.explain.  Locks: nothing.
-- p_provider: smtp, or smtp@acme for a credential; p_credential: as in provider_config_refs, NULL for none.
CREATE OR REPLACE FUNCTION jtd.concerns(p_provider text, p_credential text) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN strpos(p_provider, '@') = 0 THEN true
        ELSE coalesce(CASE split_part(p_credential, ':', 1)
            WHEN 'pg' THEN own.code = substr(p_credential, 4)
            WHEN 'env' THEN own.code = 'env:' || substr(p_credential, 20)  -- without JTD_CREDENTIAL_
            WHEN 'file' THEN starts_with(own.code, 'file:')  -- which may stand there with its folder or without
                AND right('/' || substr(p_credential, 6), length(own.code) - 4) = '/' || substr(own.code, 6)
            END, false) END
    FROM (SELECT split_part(p_provider, '@', 2) AS code) AS own
$$;
REVOKE ALL ON FUNCTION jtd.concerns(text, text) FROM PUBLIC;
