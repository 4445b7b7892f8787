-- Keeps results that came too late to change their job: the only proof of a send must not be lost.
-- Called by: jtd.apply_results.  Locks: nothing; the caller holds the rows.
-- The late proof of a send settles the job while no newer attempt has begun; any other is a remark. A delivery that
-- was to be written here has not taken place, and proves nothing.
-- An attempt that the job does not know yet tells that the database lost what was written last, by a failover: what
-- it came to holds, and one of unknown outcome is held, waits for a receipt, or on record as a possible duplicate.
CREATE OR REPLACE FUNCTION jtd.note_late(p_results jtd.result[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    proofs jtd.result[] := ARRAY(
        SELECT DISTINCT ON (r.id) r::jtd.result FROM unnest(p_results) AS r JOIN public.n_jtd AS j ON j.id = r.id
        WHERE r.outcome = 'sent' AND r.delivery IS NULL AND r.attempt >= j.attempt
            AND (j.status_code IN ('pending', 'queued') OR (j.status_code = 'executing' AND r.attempt > j.attempt)
                OR (j.status_code = 'failed' AND j.error_code IN ('outcome_unknown', 'written_off')))
            AND NOT EXISTS (  -- that send is on record, and it was moved on from there
                SELECT FROM public.n_jtd_history AS h
                WHERE h.jtd_id = r.id AND h.action = 'status_changed' AND h.to_status_code = 'sent'
                    AND h.details ->> 'attempt' = r.attempt::text)
        ORDER BY r.id, r.attempt DESC);
    resolved uuid[] := ARRAY(SELECT r.id FROM unnest(proofs) AS r);
    doubts jtd.result[] := ARRAY(
        SELECT DISTINCT ON (r.id) r::jtd.result FROM unnest(p_results) AS r JOIN public.n_jtd AS j ON j.id = r.id
        WHERE r.outcome = 'unknown' AND r.attempt > j.attempt AND j.status_code IN ('pending', 'queued')
            AND r.id <> ALL (resolved)
        ORDER BY r.id, r.attempt DESC);
    held uuid[] := ARRAY(
        SELECT r.id FROM unnest(doubts) AS r
        WHERE r.rule IN ('idempotent_retry', 'resend', 'wait_for_receipt') IS NOT TRUE);
    awaiting uuid[] := ARRAY(SELECT r.id FROM unnest(doubts) AS r WHERE r.rule = 'wait_for_receipt');
BEGIN
    PERFORM jtd.remark(r.id,
        CASE WHEN r.outcome = 'sent' AND r.delivery IS NULL AND r.attempt < j.attempt
                AND j.status_code IN ('sent', 'delivered', 'read', 'viewed', 'signed', 'rejected', 'bounced')
            THEN 'duplicate_known'
            WHEN r.id <> ALL (held || awaiting) AND EXISTS (
                SELECT FROM unnest(doubts) AS d WHERE d.id = r.id AND d.attempt = r.attempt) THEN 'possible_duplicate'
            ELSE 'late_result' END,
        left(r.reason, 2000),
        jsonb_strip_nulls(jsonb_build_object('attempt', r.attempt,
            'outcome', CASE WHEN r.delivery IS NULL THEN r.outcome ELSE 'not_written' END,
            'provider', r.provider, 'provider_message_id', r.provider_message_id)))
    FROM unnest(p_results) AS r JOIN public.n_jtd AS j ON j.id = r.id
    WHERE r.outcome <> 'release';

    PERFORM jtd.save_sent_ids(  -- receipts may speak of either copy
        array_agg(jtd.message_key(j.channel_code, r.provider, r.provider_message_id)), array_agg(r.id))
    FROM unnest(p_results) AS r JOIN public.n_jtd AS j ON j.id = r.id
    WHERE r.provider_message_id IS NOT NULL;

    PERFORM jtd.step(ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (resolved) AND j.status_code = 'queued'),
        'pending', 'late_result');
    UPDATE public.n_jtd AS j
    SET error_code = NULL, error_message = NULL, provider_code = r.provider, attempt = r.attempt,
        provider_message_id = r.provider_message_id, provider_response = r.response,
        executed_at = coalesce(j.executed_at, now()), next_retry_at = NULL,
        execution_result = jsonb_build_object('outcome', r.outcome, 'attempt', r.attempt)
            || jtd.content(j.execution_result, r.units, r.kept, r.characters),
        cost = CASE  -- while its outcome was unknown it was counted already
            WHEN j.execution_result @> jsonb_build_object('outcome', 'unknown', 'attempt', r.attempt) THEN j.cost
            ELSE jtd.charge(j.cost, c.default_cost_per_unit, r.units) END
    FROM unnest(proofs) AS r
    JOIN public.n_jtd AS o ON o.id = r.id
    LEFT JOIN public.n_jtd_channels AS c ON c.code = o.channel_code
    WHERE j.id = r.id;
    PERFORM jtd.step(resolved, 'sent', 'late_result');
    PERFORM jtd.remark(r.id, 'duplicate_known', 'an earlier attempt had been sent too', h.details)
    FROM unnest(proofs) AS r
    JOIN public.n_jtd_history AS h
        ON h.jtd_id = r.id AND h.action = 'late_result' AND h.details ->> 'outcome' = 'sent'
            AND (h.details ->> 'attempt')::integer < r.attempt;

    UPDATE public.n_jtd AS j
    SET attempt = r.attempt, provider_code = r.provider, executed_at = coalesce(j.executed_at, now()),
        error_code = CASE WHEN j.id = ANY (held || awaiting) THEN 'outcome_unknown' ELSE j.error_code END,
        error_message = CASE WHEN j.id = ANY (held || awaiting) THEN left(r.reason, 2000) ELSE j.error_message END,
        execution_result = jsonb_strip_nulls(jsonb_build_object('outcome', r.outcome, 'attempt', r.attempt,
            'bound_to', CASE WHEN r.rule = 'idempotent_retry' THEN r.provider END))
            || jtd.content(j.execution_result, r.units, r.kept, r.characters),
        cost = jtd.charge(j.cost, c.default_cost_per_unit, r.units)
    FROM unnest(doubts) AS r
    JOIN public.n_jtd AS o ON o.id = r.id
    LEFT JOIN public.n_jtd_channels AS c ON c.code = o.channel_code
    WHERE j.id = r.id;
    PERFORM jtd.await_receipts(awaiting);
    PERFORM jtd.step(held, 'failed', 'late_result');
    UPDATE public.n_jtd AS j SET completed_at = now() WHERE j.id = ANY (held);
END
$$;
REVOKE ALL ON FUNCTION jtd.note_late(jtd.result[]) FROM PUBLIC;
