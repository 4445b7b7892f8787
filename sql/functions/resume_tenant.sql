-- Lets a paused tenant go on.
-- Called by: operators, jtd-worker resume.  Locks: nothing.  false when he was not paused.
CREATE OR REPLACE FUNCTION jtd.resume_tenant(p_tenant uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM jtd.pauses AS p WHERE p.scope = 'tenant' AND p.code = p_tenant::text;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION jtd.resume_tenant(uuid) FROM PUBLIC;
