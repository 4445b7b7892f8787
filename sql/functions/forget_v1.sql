-- Gives back what a worker holds without knowing it: rows of a claim whose answer it never got.
-- Called by: the worker, after a claim that was cut off.  Locks: those rows, by id, SKIP LOCKED.
-- p_known and p_attempts are what it knows that it holds. Returns how many it gave back.
CREATE OR REPLACE FUNCTION jtd.forget_v1(p_worker uuid, p_known uuid[], p_attempts integer[]) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    -- the worker knows that it never handed these off, also if a failover lost what was written last
    UPDATE jtd.inflight AS f SET claimed_at = clock_timestamp()
    WHERE f.worker_id = p_worker AND f.handed_off_at IS NULL AND NOT EXISTS (
        SELECT FROM unnest(p_known, p_attempts) AS k (id, attempt) WHERE k.id = f.jtd_id AND k.attempt = f.attempt);
    SELECT jtd.reclaim(ARRAY(
        SELECT f.jtd_id FROM jtd.inflight AS f
        WHERE f.worker_id = p_worker AND NOT EXISTS (
            SELECT FROM unnest(p_known, p_attempts) AS k (id, attempt)
            WHERE k.id = f.jtd_id AND k.attempt = f.attempt)))
$$;
REVOKE ALL ON FUNCTION jtd.forget_v1(uuid, uuid[], integer[]) FROM PUBLIC;
