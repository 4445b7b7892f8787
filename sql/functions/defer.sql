-- Puts jobs off for a cause that the gate has found; none uses an attempt.
-- Called by: jtd.pass_gate.  Locks: nothing; the caller holds the rows, which are pending or queued.
-- p_untils: when each goes on, beside its id. A limit of a tenant's new live messages gives them no time of their own: they
-- wait in jtd.ready for their turn, and go on as soon as the limit is raised.
CREATE OR REPLACE FUNCTION jtd.defer(p_ids uuid[], p_untils timestamptz[], p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    queued uuid[] := ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (p_ids) AND j.status_code = 'queued');
    pending uuid[] := ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (p_ids) AND j.status_code = 'pending');
BEGIN
    UPDATE public.n_jtd AS j SET next_retry_at = d.until
    FROM unnest(p_ids, p_untils) AS d (id, until)
    WHERE j.id = d.id AND d.until IS NOT NULL AND (p_reason = 'quiet_hours' OR NOT j.is_live OR j.attempt > 0)
        AND j.status_code = 'queued';
    PERFORM jtd.step(queued, 'pending', p_reason);

    PERFORM jtd.remark(j.id, 'deferred', p_reason, NULL)
    FROM public.n_jtd AS j
    WHERE j.id = ANY (pending) AND j.transition_note IS DISTINCT FROM p_reason;
    UPDATE public.n_jtd AS j
    SET transition_note = p_reason,
        next_retry_at = CASE WHEN p_reason = 'quiet_hours' OR NOT j.is_live OR j.attempt > 0
            THEN coalesce(d.until, j.next_retry_at) ELSE j.next_retry_at END,
        updated_at = now()
    FROM unnest(p_ids, p_untils) AS d (id, until)
    WHERE j.id = d.id AND j.id = ANY (pending);
    IF p_reason = 'source_paused' THEN  -- which changes nothing by which the trigger would place them anew
        PERFORM jtd.unlist(pending);
        PERFORM jtd.place(pending);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION jtd.defer(uuid[], timestamptz[], text) FROM PUBLIC;
