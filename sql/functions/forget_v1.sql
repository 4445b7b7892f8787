-- Gives back what a worker holds without knowing it: rows of a claim whose answer it never got.
-- Called by: the worker, after a claim that was cut off.  Locks: those rows, by id, SKIP LOCKED.
-- Returns how many it gave back. None of them has been handed off.
CREATE OR REPLACE FUNCTION jtd.forget_v1(p_worker uuid, p_known uuid[]) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jtd.reclaim(ARRAY(
        SELECT f.jtd_id FROM jtd.inflight AS f WHERE f.worker_id = p_worker AND f.jtd_id <> ALL (p_known)))
$$;
REVOKE ALL ON FUNCTION jtd.forget_v1(uuid, uuid[]) FROM PUBLIC;
