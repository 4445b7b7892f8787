-- Forgets a device of a tenant's user, e.g. when he signs out; returns whether it was known.
-- Called by: services.  Locks: the row of its token.
CREATE OR REPLACE FUNCTION jtd.forget_device(p_tenant uuid, p_token text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM public.n_push_devices AS d WHERE d.token = jtd.trimmed(p_token) AND d.tenant_id = p_tenant;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION jtd.forget_device(uuid, text) FROM PUBLIC;
