-- Applies results to the jobs whose attempt they are; the fence keeps stale ones out.
-- Called by: jtd.settle_v1.  Locks: the rows, by id, SKIP LOCKED.
-- Returns an answer per result; no results, no rows. A result beyond the bounds raises SQLSTATE 22001.
CREATE OR REPLACE FUNCTION jtd.apply_results(p_worker uuid, p_results jsonb)
RETURNS TABLE (id uuid, attempt integer, answer text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    results jtd.result[];
    judged jtd.result[];
    held uuid[];
    spent record;
BEGIN
    results := ARRAY(SELECT r FROM jsonb_populate_recordset(NULL::jtd.result, p_results) AS r);
    IF EXISTS (
        SELECT FROM unnest(results) AS r
        WHERE length(r.provider_message_id) > 2000 OR pg_column_size(r.response) > 1000000
            OR coalesce(r.outcome NOT IN ('sent', 'retry', 'snooze', 'failed', 'blocked', 'unknown', 'release'), true)
    ) THEN
        RAISE EXCEPTION 'the outcome is not known here, or what the provider said is too long'
            USING ERRCODE = 'string_data_right_truncation';
    END IF;
    held := ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (ARRAY(SELECT u.id FROM unnest(results) AS u))
        ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
    -- a second result for the same attempt in one call is as stale as one that comes later
    judged := ARRAY(
        SELECT (r.id, r.attempt, r.outcome, r.code, r.reason, r.delay, r.rule, r.provider, r.provider_message_id,
            r.response, r.delivery, CASE
                WHEN j.id IS NULL THEN 'gone'
                WHEN r.id <> ALL (held) THEN 'locked'
                WHEN j.attempt = r.attempt AND j.status_code = 'executing' AND r.place = 1 THEN 'applied'
                WHEN j.attempt = r.attempt AND (r.outcome <> 'sent'
                    OR j.status_code NOT IN ('failed', 'cancelled', 'expired', 'pending', 'queued', 'executing'))
                    THEN 'already'
                ELSE 'late' END, r.units, r.kept, r.characters)::jtd.result
        FROM (SELECT u.*, row_number() OVER (PARTITION BY u.id, u.attempt) AS place FROM unnest(results) AS u) AS r
        LEFT JOIN public.n_jtd AS j ON j.id = r.id);

    UPDATE public.n_jtd AS j
    SET status_code = 'sent',
        status_id = s.id,
        previous_status_code = j.status_code,
        status_changed_at = clock_timestamp(),
        is_valid_transition = true,
        transition_note = NULL,
        executed_at = coalesce(f.handed_off_at, now()),
        completed_at = NULL,
        next_retry_at = NULL,
        error_code = CASE WHEN r.code = 'result_not_stored' THEN r.code END,
        error_message = CASE WHEN r.code = 'result_not_stored' THEN r.reason END,
        provider_code = r.provider,
        provider_message_id = r.provider_message_id,
        provider_response = r.response,
        execution_result = jsonb_build_object('outcome', r.outcome, 'attempt', r.attempt) || jtd.content(
            j.execution_result, coalesce(r.units, f.units), coalesce(r.kept, f.kept), coalesce(r.characters, f.characters)),
        cost = CASE WHEN r.delivery ->> 'kind' = 'outbox' THEN j.cost
            ELSE jtd.charge(j.cost, c.default_cost_per_unit, coalesce(r.units, f.units)) END,
        updated_at = now()
    FROM unnest(judged) AS r
    JOIN public.n_jtd AS o ON o.id = r.id
    LEFT JOIN jtd.inflight AS f ON f.jtd_id = r.id AND f.attempt = r.attempt
    LEFT JOIN public.n_jtd_statuses AS s ON s.event_type_code = o.event_type_code AND s.code = 'sent'
    LEFT JOIN public.n_jtd_channels AS c ON c.code = o.channel_code
    WHERE j.id = r.id AND r.answer = 'applied' AND r.outcome = 'sent';
    PERFORM jtd.remark(r.id, 'duplicate_known', 'an earlier attempt had been sent too', h.details)
    FROM unnest(judged) AS r
    JOIN public.n_jtd_history AS h
        ON h.jtd_id = r.id AND h.action = 'late_result' AND h.details ->> 'outcome' = 'sent'
    WHERE r.answer = 'applied' AND r.outcome = 'sent' AND r.attempt > 1;

    INSERT INTO public.n_inapp_notifications (
        tenant_id, user_id, title, body, notification_type, category, action_url, action_label, metadata,
        source_jtd_id)
    SELECT j.tenant_id, d.user_id, d.title, d.body, coalesce(d.notification_type, 'info'), d.category, d.action_url,
        d.action_label, coalesce(d.metadata, '{}'), r.id
    FROM unnest(judged) AS r
    JOIN public.n_jtd AS j ON j.id = r.id
    CROSS JOIN LATERAL jsonb_populate_record(NULL::public.n_inapp_notifications, r.delivery -> 'row') AS d
    WHERE r.answer = 'applied' AND r.outcome = 'sent' AND r.delivery ->> 'kind' = 'inapp'
    ON CONFLICT (source_jtd_id) DO NOTHING;

    INSERT INTO public.n_jtd_outbox (
        jtd_id, tenant_id, channel_code, recipient, recipient_name, subject, content, content_html, metadata)
    SELECT r.id, j.tenant_id, j.channel_code, d.recipient, d.recipient_name, d.subject, d.content, d.content_html,
        coalesce(d.metadata, '{}')
    FROM unnest(judged) AS r
    JOIN public.n_jtd AS j ON j.id = r.id
    CROSS JOIN LATERAL jsonb_populate_record(NULL::public.n_jtd_outbox, r.delivery -> 'row') AS d
    WHERE r.answer = 'applied' AND r.outcome = 'sent' AND r.delivery ->> 'kind' = 'outbox'
    ON CONFLICT (jtd_id) DO NOTHING;

    IF EXISTS (SELECT FROM unnest(judged) AS r WHERE r.answer = 'applied' AND r.outcome <> 'sent') THEN
        PERFORM jtd.apply_unsent(ARRAY(
            SELECT r FROM unnest(judged) AS r WHERE r.answer = 'applied' AND r.outcome <> 'sent'));
    END IF;
    IF EXISTS (SELECT FROM unnest(judged) AS r WHERE r.answer = 'late') THEN
        PERFORM jtd.note_late(ARRAY(SELECT r FROM unnest(judged) AS r WHERE r.answer = 'late'));
    END IF;

    FOR spent IN
        WITH ended AS (
            DELETE FROM jtd.inflight AS f
            USING unnest(judged) AS r
            WHERE f.jtd_id = r.id AND f.attempt = r.attempt AND r.answer IN ('applied', 'already', 'late')
            RETURNING f.queue_name, f.msg_id
        )
        SELECT e.queue_name, array_agg(e.msg_id) AS msg_ids FROM ended AS e GROUP BY e.queue_name
    LOOP
        PERFORM FROM pgmq.delete(spent.queue_name, spent.msg_ids);
    END LOOP;
    IF jsonb_path_exists(p_results, '$[*].gone_devices') THEN
        PERFORM jtd.drop_devices(p_results);
    END IF;
    RETURN QUERY SELECT r.id, r.attempt, r.answer FROM unnest(judged) AS r;
END
$$;
REVOKE ALL ON FUNCTION jtd.apply_results(uuid, jsonb) FROM PUBLIC;
