-- Sends dead letters back to the queue they came from, with their original bodies.
-- Called by: operators, jtd-worker dlq requeue.  Locks: the messages.  Returns how many; NULL asks for all.
CREATE OR REPLACE FUNCTION jtd.dlq_requeue(p_msg_ids bigint[] DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    requeued integer;
BEGIN
    WITH dead AS MATERIALIZED (
        SELECT m.msg_id, q.queue_name, m.message -> 'body' AS body
        FROM pgmq.q_jtd_dlq AS m
        JOIN jtd.queues AS q ON q.queue_name = m.message ->> 'queue'
        WHERE p_msg_ids IS NULL OR m.msg_id = ANY (p_msg_ids)
        ORDER BY m.msg_id
        FOR UPDATE OF m SKIP LOCKED
    ), sent AS (
        SELECT d.msg_id, s.id FROM dead AS d CROSS JOIN LATERAL pgmq.send(d.queue_name, d.body) AS s (id)
    )
    SELECT count(*) INTO requeued FROM sent AS s CROSS JOIN LATERAL pgmq.delete('jtd_dlq', s.msg_id) AS gone;
    RETURN requeued;
END
$$;
REVOKE ALL ON FUNCTION jtd.dlq_requeue(bigint[]) FROM PUBLIC;
