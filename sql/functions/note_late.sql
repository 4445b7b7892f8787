-- Keeps results that came too late to change their job: the only proof of a send must not be lost.
-- Called by: jtd.apply_results.  Locks: nothing; the caller holds the rows.
-- The late proof of a send resolves an unknown outcome of the same attempt; any other is a remark.
CREATE OR REPLACE FUNCTION jtd.note_late(p_results jtd.result[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    resolved uuid[] := ARRAY(
        SELECT r.id FROM unnest(p_results) AS r JOIN public.n_jtd AS j ON j.id = r.id
        WHERE r.outcome = 'sent' AND r.attempt = j.attempt
            AND j.status_code = 'failed' AND j.error_code = 'outcome_unknown');
BEGIN
    PERFORM jtd.remark(r.id,
        CASE WHEN r.outcome = 'sent' AND r.attempt < j.attempt AND j.provider_message_id IS NOT NULL
            THEN 'duplicate_known' ELSE 'late_result' END,
        r.reason,
        jsonb_strip_nulls(jsonb_build_object('attempt', r.attempt, 'outcome', r.outcome, 'provider', r.provider,
            'provider_message_id', r.provider_message_id)))
    FROM unnest(p_results) AS r JOIN public.n_jtd AS j ON j.id = r.id
    WHERE r.outcome <> 'release';

    UPDATE public.n_jtd AS j
    SET error_code = NULL, error_message = NULL, provider_code = r.provider,
        provider_message_id = r.provider_message_id, provider_response = r.response,
        execution_result = jsonb_build_object('outcome', r.outcome, 'attempt', r.attempt)
    FROM unnest(p_results) AS r
    WHERE j.id = r.id AND j.id = ANY (resolved);
    PERFORM jtd.step(resolved, 'sent', 'late_result');
END
$$;
REVOKE ALL ON FUNCTION jtd.note_late(jtd.result[]) FROM PUBLIC;
