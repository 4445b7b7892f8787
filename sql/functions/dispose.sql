-- Deals with messages of one read that were not claimed: each by what its row says.
-- Called by: jtd.claim_v1.  Locks: their rows, by id, SKIP LOCKED.
-- A message is deleted only when its job is proved to be absent, settled, or listed elsewhere. What a dead worker
-- holds is left to jtd.reclaim_dead, which waits until it is sure; an executing job that nobody holds is not.
CREATE OR REPLACE FUNCTION jtd.dispose(
    p_worker uuid, p_queue text, p_msg_ids bigint[], p_bodies jsonb[], p_ids uuid[], p_vt integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unclaimed uuid[] := ARRAY(
        SELECT DISTINCT u.id FROM unnest(p_ids) AS u (id)
        WHERE u.id IS NOT NULL
            AND NOT EXISTS (SELECT FROM jtd.inflight AS f
                WHERE f.jtd_id = u.id AND f.worker_id = p_worker AND f.queue_name = p_queue
                    AND f.msg_id = ANY (p_msg_ids)));
    held uuid[];
    fate record;
BEGIN
    held := ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (unclaimed)
        ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);

    FOR fate IN
        WITH message AS (
            SELECT m.msg_id, m.body, m.id, row_number() OVER (PARTITION BY m.id ORDER BY m.msg_id) AS rank
            FROM unnest(p_msg_ids, p_bodies, p_ids) AS m (msg_id, body, id)
        )
        SELECT d.fate, array_agg(d.msg_id) AS msg_ids, array_agg(DISTINCT d.id) AS ids,
            (array_agg(d.id))[1] AS last_id, array_agg(d.body) AS bodies
        FROM (
            SELECT m.msg_id, m.id, CASE WHEN m.id IS NULL THEN m.body END AS body, CASE
                WHEN m.id IS NULL THEN 'unusable'
                WHEN m.id <> ALL (unclaimed) THEN CASE WHEN m.rank > 1 THEN 'duplicate' ELSE 'claimed' END
                WHEN j.id IS NULL THEN 'absent'
                WHEN m.id <> ALL (held) THEN 'locked'
                WHEN m.rank > 1 THEN 'duplicate'
                WHEN NOT coalesce(e.is_message, true) THEN 'not_a_message'
                WHEN j.status_code = 'queued' THEN CASE
                    WHEN q.queue_name <> p_queue THEN 'misplaced' ELSE 'stopped' END
                WHEN j.status_code IN ('created', 'pending', 'scheduled') THEN 'early'
                WHEN j.status_code = 'executing' THEN CASE
                    WHEN f.attempt = j.attempt THEN 'executing' ELSE 'worker_lost' END
                ELSE 'settled'
            END AS fate
            FROM message AS m
            LEFT JOIN public.n_jtd AS j ON j.id = m.id
            LEFT JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code
            LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
            LEFT JOIN jtd.queues AS q
                ON q.channel_code = j.channel_code AND q.lane = jtd.lane(j.priority, s.is_urgent)
            LEFT JOIN jtd.inflight AS f ON f.jtd_id = j.id
        ) AS d
        WHERE d.fate <> 'claimed'
        GROUP BY d.fate
        ORDER BY d.fate  -- claims of one queue meet at its counters, and must take them in one order
    LOOP
        CASE fate.fate
        WHEN 'unusable' THEN
            PERFORM FROM unnest(fate.bodies, fate.msg_ids) AS b (body, msg_id)
            CROSS JOIN LATERAL pgmq.send('jtd_dlq', jsonb_build_object(
                'queue', p_queue, 'msg_id', b.msg_id, 'reason', 'no usable jtd_id in the message', 'body', b.body));
            PERFORM jtd.discard(p_queue, fate.fate, fate.msg_ids, NULL);
        WHEN 'locked' THEN
            PERFORM pgmq.set_vt(p_queue, m.id, 2) FROM unnest(fate.msg_ids) AS m (id);
            PERFORM jtd.count_discard(p_queue, fate.fate, cardinality(fate.msg_ids), fate.last_id);
        WHEN 'executing' THEN
            PERFORM pgmq.set_vt(p_queue, m.id, p_vt) FROM unnest(fate.msg_ids) AS m (id);
        WHEN 'misplaced' THEN
            PERFORM jtd.place(fate.ids);
            PERFORM jtd.discard(p_queue, fate.fate, fate.msg_ids, fate.last_id);
        WHEN 'stopped' THEN
            -- what the gate lets through after all was locked a moment ago or left for another claim
            PERFORM pgmq.set_vt(p_queue, m.msg_id, 0)
            FROM unnest(jtd.pass_gate(fate.ids)) AS p (id)
            JOIN unnest(p_ids, p_msg_ids) AS m (id, msg_id) ON m.id = p.id;
            PERFORM FROM pgmq.delete(p_queue, ARRAY(
                SELECT m.msg_id FROM unnest(p_ids, p_msg_ids) AS m (id, msg_id)
                JOIN public.n_jtd AS j ON j.id = m.id
                WHERE m.id = ANY (fate.ids) AND j.status_code <> 'queued'));
        WHEN 'early' THEN
            PERFORM jtd.hasten(fate.ids);
            PERFORM jtd.discard(p_queue, fate.fate, fate.msg_ids, fate.last_id);
        WHEN 'worker_lost' THEN
            PERFORM jtd.reclaim(fate.ids);
            PERFORM jtd.count_discard(p_queue, fate.fate, cardinality(fate.msg_ids), fate.last_id);
        ELSE
            PERFORM jtd.discard(p_queue, fate.fate, fate.msg_ids, fate.last_id);
        END CASE;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.dispose(uuid, text, bigint[], jsonb[], uuid[], integer) FROM PUBLIC;
