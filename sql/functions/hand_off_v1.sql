-- Puts the hand-off on record before the first byte leaves, and returns the jobs that may go.
-- Called by: the worker, once for each group of sends that start together.  Locks: their rows, by id, SKIP LOCKED.
-- A job that was cancelled, has expired, is locked, or belongs to a newer attempt is not returned;
-- nothing is on a database that is not adopted.
CREATE OR REPLACE FUNCTION jtd.hand_off_v1(
    p_worker uuid, p_ids uuid[], p_attempts integer[], p_unknown_rule text, p_provider text) RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held uuid[];
BEGIN
    IF NOT jtd.is_adopted() THEN
        RETURN;
    END IF;
    held := ARRAY(
        SELECT j.id
        FROM unnest(p_ids, p_attempts) AS a (id, attempt)
        JOIN public.n_jtd AS j ON j.id = a.id
        WHERE j.attempt = a.attempt AND j.status_code = 'executing'
            AND (j.expires_at IS NULL OR j.expires_at > clock_timestamp())
        ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED);
    RETURN QUERY
        UPDATE jtd.inflight AS f
        SET handed_off_at = clock_timestamp(), unknown_rule = p_unknown_rule, provider = p_provider
        WHERE f.jtd_id = ANY (held) AND f.worker_id = p_worker
            AND f.attempt = (SELECT j.attempt FROM public.n_jtd AS j WHERE j.id = f.jtd_id)
            AND EXISTS (SELECT FROM jtd.workers AS w WHERE w.id = p_worker AND w.lease_until > clock_timestamp())
        RETURNING f.jtd_id;
END
$$;
REVOKE ALL ON FUNCTION jtd.hand_off_v1(uuid, uuid[], integer[], text, text) FROM PUBLIC;
