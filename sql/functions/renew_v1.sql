-- Renews the lease of a worker; false when the worker is not entered any more, and must register again.
-- Called by: the worker, every third of its lease.  Locks: the worker's own row.
CREATE OR REPLACE FUNCTION jtd.renew_v1(p_worker uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE jtd.workers AS w SET lease_until = clock_timestamp() + make_interval(secs => w.lease_seconds)
    WHERE w.id = p_worker;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION jtd.renew_v1(uuid) FROM PUBLIC;
