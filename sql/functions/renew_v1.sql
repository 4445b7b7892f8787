-- Renews the lease of a worker; false when the worker is not entered any more, and must register again.
-- Called by: the worker, every third of its lease.  Locks: the worker's own row.
-- One that comes back after its lease was over counts as started anew: it judges nobody dead for a while.
CREATE OR REPLACE FUNCTION jtd.renew_v1(p_worker uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE jtd.workers AS w
    SET started_at = CASE WHEN w.lease_until < clock_timestamp() THEN clock_timestamp() ELSE w.started_at END,
        lease_until = clock_timestamp() + make_interval(secs => w.lease_seconds)
    WHERE w.id = p_worker;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION jtd.renew_v1(uuid) FROM PUBLIC;
