-- Applies the results of attempts that did not end in sent: retry, snooze, failed, blocked, unknown, release.
-- Called by: jtd.apply_results.  Locks: nothing; the caller holds the rows.
-- A retry is two steps, executing > failed > pending, so that the audit trail shows both.
CREATE OR REPLACE FUNCTION jtd.apply_unsent(p_results jtd.result[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    awaiting uuid[] := ARRAY(
        SELECT r.id FROM unnest(p_results) AS r WHERE r.outcome = 'unknown' AND r.rule = 'wait_for_receipt');
    failed uuid[] := ARRAY(
        SELECT r.id FROM unnest(p_results) AS r
        WHERE r.outcome IN ('retry', 'failed', 'unknown') AND r.id <> ALL (awaiting));
    again uuid[] := ARRAY(
        SELECT r.id FROM unnest(p_results) AS r JOIN public.n_jtd AS j ON j.id = r.id
        WHERE (r.outcome = 'retry' OR (r.outcome = 'unknown' AND r.rule IN ('idempotent_retry', 'resend')))
            AND j.retry_count < coalesce(j.max_retries, 0));
    released uuid[] := ARRAY(SELECT r.id FROM unnest(p_results) AS r WHERE r.outcome = 'release');
    doomed uuid[];
    snoozed uuid[] := ARRAY(SELECT r.id FROM unnest(p_results) AS r WHERE r.outcome = 'snooze');
    blocked uuid[] := ARRAY(SELECT r.id FROM unnest(p_results) AS r WHERE r.outcome = 'blocked');
BEGIN
    UPDATE public.n_jtd AS j
    SET error_code = CASE r.outcome WHEN 'unknown' THEN 'outcome_unknown' ELSE left(r.code, 100) END,
        error_message = left(r.reason, 2000),
        provider_code = r.provider,
        provider_response = r.response,
        executed_at = coalesce(f.handed_off_at, j.executed_at),
        execution_result = jsonb_strip_nulls(jsonb_build_object(
            'outcome', r.outcome, 'attempt', r.attempt, 'code', left(r.code, 100),
            -- it may be with this provider, who alone would know a second copy: no other may be asked
            'bound_to', CASE WHEN r.outcome = 'unknown' AND r.rule = 'idempotent_retry' THEN r.provider
                ELSE j.execution_result ->> 'bound_to' END)) || jtd.content(
            j.execution_result, coalesce(r.units, f.units), coalesce(r.kept, f.kept), coalesce(r.characters, f.characters)),
        cost = CASE WHEN r.outcome = 'unknown'
            THEN jtd.charge(j.cost, c.default_cost_per_unit, coalesce(r.units, f.units)) ELSE j.cost END
    FROM unnest(p_results) AS r
    JOIN public.n_jtd AS o ON o.id = r.id
    LEFT JOIN public.n_jtd_channels AS c ON c.code = o.channel_code
    LEFT JOIN jtd.inflight AS f ON f.jtd_id = r.id AND f.attempt = r.attempt AND f.handed_off_at IS NOT NULL
    WHERE j.id = r.id AND r.outcome IN ('retry', 'snooze', 'failed', 'unknown', 'blocked');

    PERFORM jtd.await_receipts(awaiting);
    PERFORM jtd.step(failed, 'failed');
    UPDATE public.n_jtd AS j SET completed_at = now()
    WHERE j.id = ANY (failed) AND j.id <> ALL (again);

    UPDATE public.n_jtd AS j
    SET retry_count = j.retry_count + 1,
        last_retry_at = now(),
        next_retry_at = now() + make_interval(secs => greatest(
            least(least(e.retry_delay_seconds * 2.0 ^ least(j.retry_count, 20), 21600) * (0.9 + 0.2 * random()), 21600),
            r.delay))
    FROM unnest(p_results) AS r, public.n_jtd_event_types AS e
    WHERE j.id = r.id AND j.id = ANY (again) AND e.code = j.event_type_code;
    PERFORM jtd.step(again, 'pending', 'retry');
    PERFORM jtd.remark(r.id, 'possible_duplicate', r.reason, jsonb_build_object('attempt', r.attempt))
    FROM unnest(p_results) AS r
    WHERE r.id = ANY (again) AND r.outcome = 'unknown' AND r.rule = 'resend';

    UPDATE public.n_jtd AS j SET next_retry_at = now() + make_interval(secs => coalesce(r.delay, 0))
    FROM unnest(p_results) AS r
    WHERE j.id = r.id AND r.outcome = 'snooze';
    PERFORM jtd.step(snoozed_alike.ids, 'pending', snoozed_alike.code)
    FROM (SELECT r.code, array_agg(r.id) AS ids FROM unnest(p_results) AS r
        WHERE r.id = ANY (snoozed) GROUP BY r.code) AS snoozed_alike;

    UPDATE public.n_jtd AS j
    SET execution_result = coalesce(j.execution_result, '{}') || jsonb_build_object(
        'code', r.code, 'lost', coalesce(substring(j.execution_result ->> 'lost' FROM '^[0-9]{1,8}$')::integer, 0) + 1)
    FROM unnest(p_results) AS r
    WHERE j.id = r.id AND r.outcome = 'release' AND r.code = 'worker_lost';
    -- what loses one worker after the other is the cause; lost twice it may have been its neighbour, then it is
    -- claimed alone
    doomed := ARRAY(
        SELECT j.id FROM unnest(p_results) AS r JOIN public.n_jtd AS j ON j.id = r.id
        WHERE r.outcome = 'release' AND r.code = 'worker_lost'
            AND substring(j.execution_result ->> 'lost' FROM '^[0-9]{1,8}$')::integer > greatest(2, coalesce(j.max_retries, 0) + 1));
    UPDATE public.n_jtd AS j
    SET error_code = 'worker_lost', error_message = 'each worker that took it was lost before it handed it over'
    WHERE j.id = ANY (doomed);
    PERFORM jtd.step(doomed, 'failed');
    UPDATE public.n_jtd AS j SET completed_at = now() WHERE j.id = ANY (doomed);
    released := ARRAY(SELECT u.id FROM unnest(released) AS u (id) WHERE u.id <> ALL (doomed));
    PERFORM jtd.step(released, 'pending', 'given_back');
    PERFORM jtd.step(released, 'queued');
    PERFORM jtd.step(blocked_alike.ids, 'cancelled', blocked_alike.code)
    FROM (SELECT r.code, array_agg(r.id) AS ids FROM unnest(p_results) AS r
        WHERE r.id = ANY (blocked) GROUP BY r.code) AS blocked_alike;
END
$$;
REVOKE ALL ON FUNCTION jtd.apply_unsent(jtd.result[]) FROM PUBLIC;
