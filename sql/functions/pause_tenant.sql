-- Pauses a tenant: nothing of his is claimed or admitted until jtd.resume_tenant. What runs is finished.
-- Called by: operators, jtd-worker pause.  Locks: nothing.  Again, it changes the reason.
CREATE OR REPLACE FUNCTION jtd.pause_tenant(p_tenant uuid, p_reason text DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO jtd.pauses AS p (scope, code, reason) VALUES ('tenant', p_tenant::text, p_reason)
    ON CONFLICT (scope, code) DO UPDATE SET reason = excluded.reason, paused_by = excluded.paused_by
$$;
REVOKE ALL ON FUNCTION jtd.pause_tenant(uuid, text) FROM PUBLIC;
