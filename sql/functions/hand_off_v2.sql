-- Puts the hand-off on record before the first byte leaves, and says which jobs may go.
-- Called by: the worker, once for each group of sends that start together.  Locks: their rows, by id, SKIP LOCKED;
-- the breaker's row if there is one.
-- Answers go or open for each job; a job that was cancelled, has expired, is locked, or belongs to a newer attempt is
-- not answered, nor is any on a database that is not adopted. open: the provider takes nothing at present. When its
-- pause is over one job goes as a probe, and no other for the time a send may take.
CREATE OR REPLACE FUNCTION jtd.hand_off_v2(
    p_worker uuid, p_ids uuid[], p_attempts integer[], p_unknown_rule text, p_channel text, p_provider text)
RETURNS TABLE (id uuid, answer text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    longest_send CONSTANT interval := '60 s';
    held uuid[];
    going uuid[];
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
    held := ARRAY(
        SELECT f.jtd_id FROM jtd.inflight AS f JOIN public.n_jtd AS j ON j.id = f.jtd_id AND j.attempt = f.attempt
        WHERE f.jtd_id = ANY (held) AND f.worker_id = p_worker
            AND EXISTS (SELECT FROM jtd.workers AS w WHERE w.id = p_worker AND w.lease_until > clock_timestamp())
        ORDER BY f.jtd_id);
    going := held;
    IF held <> '{}' AND EXISTS (
        SELECT FROM jtd.breakers AS b WHERE b.channel_code = p_channel AND b.provider = p_provider)
    THEN
        UPDATE jtd.breakers AS b SET probing_until = clock_timestamp() + longest_send
        WHERE b.channel_code = p_channel AND b.provider = p_provider AND b.retry_at <= clock_timestamp()
            AND coalesce(b.probing_until <= clock_timestamp(), true);
        going := CASE WHEN FOUND THEN held[1:1] ELSE '{}' END;
    END IF;
    UPDATE jtd.inflight AS f
    SET handed_off_at = clock_timestamp(), unknown_rule = p_unknown_rule, provider = p_provider
    WHERE f.jtd_id = ANY (going);
    RETURN QUERY SELECT h.id, CASE WHEN h.id = ANY (going) THEN 'go' ELSE 'open' END FROM unnest(held) AS h (id);
END
$$;
REVOKE ALL ON FUNCTION jtd.hand_off_v2(uuid, uuid[], integer[], text, text, text) FROM PUBLIC;
