-- Takes jobs that somebody sent a message for as far as they may go: due ones to queued, others to a list.
-- Called by: jtd.dispose, jtd.place_updated.  Locks: nothing; the caller holds the rows.
-- A bare pgmq.send of a job's id is so a legal way to enqueue it, also where triggers were disabled.
CREATE OR REPLACE FUNCTION jtd.hasten(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due uuid[];
BEGIN
    UPDATE public.n_jtd AS j
    SET priority = coalesce(j.priority, e.default_priority), max_retries = coalesce(j.max_retries, e.default_max_retries)
    FROM public.n_jtd_event_types AS e
    WHERE j.id = ANY (p_ids) AND e.code = j.event_type_code AND (j.priority IS NULL OR j.max_retries IS NULL);
    PERFORM jtd.step(ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.id = ANY (p_ids) AND (j.status_code = 'created'
            OR (j.status_code = 'scheduled' AND coalesce(greatest(j.scheduled_at, j.next_retry_at), now()) <= now()))),
        'pending');
    PERFORM jtd.place(ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.id = ANY (p_ids) AND j.status_code IN ('pending', 'scheduled')
            AND NOT EXISTS (SELECT FROM jtd.waiting AS w WHERE w.jtd_id = j.id)
            AND NOT EXISTS (SELECT FROM jtd.ready AS r WHERE r.jtd_id = j.id)));
    due := ARRAY(
        SELECT j.id
        FROM public.n_jtd AS j
        LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
        WHERE j.id = ANY (p_ids) AND j.status_code = 'pending'
            AND j.transition_note IS DISTINCT FROM 'receipt'  -- it may have been sent: jtd.release_due holds it
            AND coalesce(greatest(j.scheduled_at, j.next_retry_at), now()) <= now()
            AND NOT jtd.window_closed(j.tenant_id, j.channel_code, jtd.lane(j.priority, s.is_urgent)));
    IF due <> '{}' THEN
        PERFORM jtd.step(jtd.pass_gate(due), 'queued');
    END IF;
END
$$;
REVOKE ALL ON FUNCTION jtd.hasten(uuid[]) FROM PUBLIC;
