-- Takes a worker out that has settled or given back all it held.
-- Called by: the worker, last of all.  Locks: the worker's own rows.
-- If it still holds jobs, its lease is ended instead, so that they are reclaimed.
CREATE OR REPLACE FUNCTION jtd.leave_v1(p_worker uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM jtd.sleepers AS s WHERE s.worker_id = p_worker;
    UPDATE jtd.workers AS w SET lease_until = '-infinity' WHERE w.id = p_worker;
    DELETE FROM jtd.workers AS w
    WHERE w.id = p_worker AND NOT EXISTS (SELECT FROM jtd.inflight AS f WHERE f.worker_id = p_worker);
$$;
REVOKE ALL ON FUNCTION jtd.leave_v1(uuid) FROM PUBLIC;
