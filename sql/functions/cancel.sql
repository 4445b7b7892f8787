-- Cancels a job that has not been handed to a provider.
-- Called by: services, jtd-worker cancel.  Locks: the row, and waits for it.
-- Returns cancelled, too_late (handed off, or in the message of a job that a worker took: it may have left; or its flow has no such step any more), final or
-- absent. Only cancelled changes anything.
CREATE OR REPLACE FUNCTION jtd.cancel(p_id uuid, p_reason text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job public.n_jtd;
    handed_off_at timestamptz;
    is_carried boolean := false;
BEGIN
    SELECT * INTO job FROM public.n_jtd AS j WHERE j.id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'absent';
    END IF;
    -- read only now that the row is ours: what was recorded while we waited for it counts
    SELECT f.handed_off_at INTO handed_off_at FROM jtd.inflight AS f WHERE f.jtd_id = p_id FOR NO KEY UPDATE;
    IF job.carrier_id <> job.id THEN  -- its text may be with a worker, in the message of another job
        PERFORM FROM public.n_jtd AS c WHERE c.id = job.carrier_id FOR NO KEY UPDATE;
        is_carried := EXISTS (
            SELECT FROM public.n_jtd AS c WHERE c.id = job.carrier_id AND job.id = ANY (c.carries)
                AND c.status_code NOT IN ('cancelled', 'expired'));
    END IF;
    IF EXISTS (
        SELECT FROM public.n_jtd_statuses AS s
        WHERE s.event_type_code = job.event_type_code AND s.code = job.status_code AND s.is_terminal
    ) THEN
        RETURN 'final';
    ELSIF handed_off_at IS NOT NULL OR is_carried OR (job.status_code = 'pending' AND job.transition_note = 'receipt')
        OR (job.status_code = 'failed' AND job.error_code IN ('outcome_unknown', 'written_off'))
        OR NOT jtd.is_valid_step(job.event_type_code, job.status_code, 'cancelled')
    THEN
        RETURN 'too_late';
    END IF;
    PERFORM jtd.step(ARRAY[p_id], 'cancelled', coalesce(p_reason, 'cancelled'));
    RETURN 'cancelled';
END
$$;
REVOKE ALL ON FUNCTION jtd.cancel(uuid, text) FROM PUBLIC;
