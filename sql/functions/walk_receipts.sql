-- Moves jobs along the paths that receipts call for, one receipt for each job.
-- Called by: jtd.settle_receipts.  Locks: nothing; the caller holds the jobs.
-- What the first step writes is what the audit trail shows of every step: provider, kind and code of the receipt. A job
-- that a provider gave up is not retried, so it is at rest.
CREATE OR REPLACE FUNCTION jtd.walk_receipts(p_verdicts jtd.verdict[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
BEGIN
    FOR place IN 1 .. (SELECT max(cardinality(v.path)) FROM unnest(p_verdicts) AS v) LOOP
        UPDATE public.n_jtd AS j
        SET status_code = v.path[place],
            status_id = s.id,
            previous_status_code = j.status_code,
            status_changed_at = clock_timestamp(),
            is_valid_transition = true,
            transition_note = 'receipt',
            completed_at = CASE WHEN s.is_terminal OR v.path[place] = 'failed' THEN now() END,
            next_retry_at = NULL,
            error_code = CASE WHEN v.path[place] IN ('failed', 'bounced') THEN coalesce(r.code, r.kind) END,
            error_message = CASE WHEN v.path[place] IN ('failed', 'bounced') THEN r.reason END,
            executed_at = coalesce(j.executed_at, now()),
            provider_code = coalesce(j.provider_code, r.provider),
            provider_message_id = coalesce(j.provider_message_id, r.provider_message_id),
            execution_result = coalesce(j.execution_result, '{}') - 'bound_to' || jsonb_build_object(
                'outcome', CASE v.path[place] WHEN 'failed' THEN 'failed' ELSE 'sent' END,
                'receipt', jsonb_strip_nulls(jsonb_build_object('provider', r.provider, 'kind', r.kind, 'code', r.code))),
            cost = CASE  -- what was sent, or may have been, was counted when it was
                WHEN j.execution_result ->> 'outcome' IN ('sent', 'unknown') OR j.execution_result ? 'receipt' THEN j.cost
                ELSE jtd.charge(j.cost, c.default_cost_per_unit,
                    substring(j.execution_result ->> 'units' FROM '^[0-9]{1,8}$')::integer) END,
            updated_at = now()
        FROM unnest(p_verdicts) AS v
        JOIN public.n_jtd_receipts AS r ON r.id = v.receipt_id
        JOIN public.n_jtd AS o ON o.id = v.jtd_id
        LEFT JOIN public.n_jtd_channels AS c ON c.code = o.channel_code
        LEFT JOIN public.n_jtd_statuses AS s ON s.event_type_code = o.event_type_code AND s.code = v.path[place]
        WHERE j.id = v.jtd_id AND v.path[place] IS NOT NULL;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.walk_receipts(jtd.verdict[]) FROM PUBLIC;
