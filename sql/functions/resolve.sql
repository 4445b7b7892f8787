-- Ends what nobody knows: a person says whether a job of unknown outcome was sent, shall be sent again, or given up.
-- Called by: operators, jtd-worker resolve.  Locks: the row, and waits for it.
-- p_verdict: sent, resend or fail. Returns sent, pending (it gets one more attempt, on record as a possible
-- duplicate), failed; or, with nothing changed, not_unknown, not_failed (its flow knows no retry) or absent.
CREATE OR REPLACE FUNCTION jtd.resolve(p_id uuid, p_verdict text, p_reason text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job public.n_jtd;
BEGIN
    IF p_verdict NOT IN ('sent', 'resend', 'fail') IS NOT FALSE THEN
        PERFORM jtd.refuse('JT011', 'verdict', p_verdict, ARRAY['sent', 'resend', 'fail']);
    END IF;
    SELECT * INTO job FROM public.n_jtd AS j WHERE j.id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'absent';
    ELSIF job.status_code <> 'failed' OR job.error_code IS DISTINCT FROM 'outcome_unknown' THEN
        RETURN 'not_unknown';
    END IF;
    IF p_verdict = 'resend' AND jtd.retry(p_id, true) <> 'pending' THEN
        RETURN 'not_failed';
    END IF;
    PERFORM jtd.remark(p_id, 'resolved', p_reason, jsonb_build_object('attempt', job.attempt, 'verdict', p_verdict));
    CASE p_verdict
    WHEN 'sent' THEN
        UPDATE public.n_jtd AS j
        SET error_code = NULL, error_message = NULL, next_retry_at = NULL,
            execution_result = jsonb_build_object('outcome', 'sent', 'attempt', j.attempt)
                || jtd.content(j.execution_result, NULL, NULL, NULL)
        WHERE j.id = p_id;
        PERFORM jtd.step(ARRAY[p_id], 'sent', 'resolved');
        RETURN 'sent';
    WHEN 'resend' THEN
        RETURN 'pending';
    ELSE
        UPDATE public.n_jtd AS j SET error_code = 'written_off' WHERE j.id = p_id;
        RETURN 'failed';
    END CASE;
END
$$;
REVOKE ALL ON FUNCTION jtd.resolve(uuid, text, text) FROM PUBLIC;
