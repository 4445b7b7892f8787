-- Enters a worker with its lease; registering again is starting again.
-- Called by: workers of the release before this one.  Locks: the worker's own row.
CREATE OR REPLACE FUNCTION jtd.register_v1(p_worker uuid, p_name text, p_channels text[], p_lease_seconds integer)
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jtd.register_v2(p_worker, p_name, p_channels, '{}', p_lease_seconds)
$$;
REVOKE ALL ON FUNCTION jtd.register_v1(uuid, text, text[], integer) FROM PUBLIC;
