-- Gives a failed job one more attempt, at once.
-- Called by: operators, jtd-worker retry.  Locks: the row, and waits for it.
-- Returns pending, unknown or written_off (it may have been sent: p_resend => true sends it again and records that),
-- not_failed or absent. A job that was never handed off is rendered from the newest text of its template.
CREATE OR REPLACE FUNCTION jtd.retry(p_id uuid, p_resend boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job public.n_jtd;
    carrier public.n_jtd;
    was_unknown boolean := false;
BEGIN
    SELECT * INTO job FROM public.n_jtd AS j WHERE j.id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'absent';
    ELSIF NOT EXISTS (
        SELECT FROM public.n_jtd_statuses AS s
        WHERE s.event_type_code = job.event_type_code AND s.code = job.status_code AND s.allows_retry
    ) THEN
        RETURN 'not_failed';
    ELSIF job.error_code IN ('outcome_unknown', 'written_off') AND NOT p_resend THEN
        RETURN CASE job.error_code WHEN 'written_off' THEN 'written_off' ELSE 'unknown' END;
    END IF;
    IF job.carrier_id <> job.id THEN
        SELECT * INTO carrier FROM public.n_jtd AS c WHERE c.id = job.carrier_id FOR NO KEY UPDATE;
        IF job.id = ANY (carrier.carries) THEN
            IF carrier.status_code IN ('pending', 'queued', 'executing') THEN
                RETURN 'not_failed';  -- it goes with its carrier, which has another attempt
            ELSIF carrier.execution_result ->> 'outcome' = 'unknown' AND NOT p_resend THEN
                RETURN 'unknown';
            END IF;
            was_unknown := carrier.execution_result ->> 'outcome' IS NOT DISTINCT FROM 'unknown';
        END IF;
    END IF;
    UPDATE public.n_jtd AS j
    SET next_retry_at = NULL,
        last_retry_at = now(),
        -- who sends it again by hand accepts a second copy, so it may go to any provider
        execution_result = CASE WHEN p_resend THEN j.execution_result - 'bound_to' ELSE j.execution_result END,
        carrier_id = CASE WHEN j.carrier_id IS NOT NULL THEN j.id END,  -- one that another carried goes by itself now
        template_version = CASE WHEN j.executed_at IS NOT NULL THEN j.template_version END
    WHERE j.id = p_id;
    PERFORM jtd.step(ARRAY[p_id], 'pending', 'retry');
    IF job.error_code IN ('outcome_unknown', 'written_off') OR was_unknown OR (p_resend AND job.execution_result ? 'bound_to') THEN
        PERFORM jtd.remark(p_id, 'possible_duplicate', 'sent again by hand',
            jsonb_build_object('attempt', job.attempt));
    END IF;
    RETURN 'pending';
END
$$;
REVOKE ALL ON FUNCTION jtd.retry(uuid, boolean) FROM PUBLIC;
