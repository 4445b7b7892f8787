-- Puts jobs where their state says: queued -> a message, pending or scheduled -> jtd.waiting or jtd.ready.
-- Called by: the triggers on public.n_jtd, and jtd.tick_v1 for waiting jobs that have come due.
-- Locks: nothing; the caller holds the rows of n_jtd, and whoever touches a list row holds its job.
-- Work types and jobs in any other state are left alone.
CREATE OR REPLACE FUNCTION jtd.place(p_ids uuid[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch record;
BEGIN
    FOR batch IN
        SELECT q.queue_name, array_agg(jsonb_build_object('jtd_id', j.id) ORDER BY j.priority DESC, j.id) AS messages
        FROM public.n_jtd AS j
        JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code AND e.is_message
        LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
        JOIN jtd.queues AS q ON q.channel_code = j.channel_code AND q.lane = jtd.lane(j.priority, s.is_urgent)
        WHERE j.id = ANY (p_ids) AND j.status_code = 'queued'
        GROUP BY q.queue_name
    LOOP
        PERFORM FROM pgmq.send_batch(batch.queue_name, batch.messages);
        IF EXISTS (SELECT FROM jtd.sleepers AS s WHERE s.queue_name = batch.queue_name) THEN
            PERFORM pg_notify('jtd_wake', batch.queue_name);
        END IF;
    END LOOP;

    WITH listed AS (
        SELECT j.id, j.channel_code, j.tenant_id, coalesce(j.priority, 5) AS priority,
            jtd.lane(j.priority, s.is_urgent) AS lane, coalesce(s.bypasses_gates, false) OR NOT j.is_live OR j.attempt > 0 AS is_exempt,
            CASE WHEN j.carrier_id <> j.id THEN 'batched'
                WHEN j.status_code = 'pending' AND j.transition_note = 'receipt' THEN 'receipt'
                WHEN p.code IS NOT NULL AND coalesce(greatest(j.scheduled_at, j.next_retry_at) <= now(), true)
                    THEN 'source_paused'
                WHEN j.scheduled_at >= greatest(j.scheduled_at, j.next_retry_at) THEN 'scheduled'
                ELSE coalesce(j.transition_note, 'retry') END AS reason,
            -- a job that is scheduled, or waits for a receipt, is listed as waiting even when due: release_due takes its step
            CASE WHEN j.carrier_id <> j.id THEN now() + interval '1 hour'  -- or until its carrier has come to something
                WHEN j.status_code = 'pending' AND j.transition_note = 'receipt' THEN coalesce(j.next_retry_at, now())
                WHEN p.code IS NOT NULL AND coalesce(greatest(j.scheduled_at, j.next_retry_at) <= now(), true)
                    THEN least(now() + interval '1 hour', j.expires_at)  -- or until jtd.resume_source
                WHEN greatest(j.scheduled_at, j.next_retry_at) > now() OR j.status_code = 'scheduled'
                THEN least(coalesce(greatest(j.scheduled_at, j.next_retry_at), now()), j.expires_at) END AS due,
            j.status_code = 'scheduled' OR (j.transition_note = 'receipt') IS TRUE AS keeps_waiting,
            CASE WHEN j.transition_note = 'batch' AND j.carrier_id IS NULL AND j.next_retry_at > now()
                THEN jtd.batch_key(j, c.recipient_key) END AS batch_key
        FROM public.n_jtd AS j
        JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code AND e.is_message
        LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
        LEFT JOIN public.n_jtd_channels AS c ON c.code = j.channel_code
        LEFT JOIN jtd.pauses AS p
            ON p.scope = 'source_type' AND p.code = j.source_type_code AND j.status_code = 'pending'
        WHERE j.id = ANY (p_ids) AND j.status_code IN ('pending', 'scheduled') AND j.channel_code IS NOT NULL
    ), waits AS (
        INSERT INTO jtd.waiting (jtd_id, due, channel_code, tenant_id, reason, batch_key)
        SELECT l.id, l.due, l.channel_code, l.tenant_id, l.reason, l.batch_key FROM listed AS l
        WHERE l.keeps_waiting OR l.due > now()
        ON CONFLICT (jtd_id) DO UPDATE
        SET due = excluded.due, reason = excluded.reason, batch_key = excluded.batch_key
    )
    INSERT INTO jtd.ready (jtd_id, channel_code, lane, tenant_id, priority, is_exempt)
    SELECT l.id, l.channel_code, l.lane, l.tenant_id, l.priority, l.is_exempt
    FROM listed AS l
    WHERE NOT l.keeps_waiting AND coalesce(l.due <= now(), true)
    ON CONFLICT (jtd_id) DO UPDATE SET lane = excluded.lane, priority = excluded.priority;
END
$$;
REVOKE ALL ON FUNCTION jtd.place(uuid[]) FROM PUBLIC;
