-- Whether a new job must await admission: behind older jobs of its tenant, or because the queue is full.
-- Called by: jtd.enqueue_row, jtd.hasten.  Locks: nothing; the scheduler alone writes what it reads.
-- That the queue is full is read off its sequence, so that producers fill it no further between two ticks, and wait
-- for nobody. What a statement itself sends comes at its end, and is not counted.
CREATE OR REPLACE FUNCTION jtd.window_closed(p_tenant uuid, p_channel text, p_lane text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM jtd.windows AS w
        WHERE w.channel_code = p_channel AND w.lane = p_lane AND w.tenant_id = p_tenant
    ) OR EXISTS (
        SELECT FROM jtd.queues AS q
        WHERE q.channel_code = p_channel AND q.lane = p_lane AND q.closes_at <= coalesce(pg_sequence_last_value(
            to_regclass(format('pgmq.%I', 'q_' || q.queue_name || '_msg_id_seq'))), 0)
    )
$$;
REVOKE ALL ON FUNCTION jtd.window_closed(uuid, text, text) FROM PUBLIC;
