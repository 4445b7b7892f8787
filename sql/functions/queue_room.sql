-- How many messages a queue may take now; adapts its target to about ten seconds of what was consumed.
-- Called by: jtd.admit.  Locks: the queue's row in jtd.queues.  A full queue gives 0.
CREATE OR REPLACE FUNCTION jtd.queue_room(p_queue text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    least_depth CONSTANT integer := 1000;
    greatest_depth CONSTANT integer := 50000;
    now_there integer;
    queue jtd.queues;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT FROM pgmq.%I AS m WHERE m.msg_id >= $1 ORDER BY m.msg_id LIMIT $2) AS m',
        'q_' || p_queue) INTO now_there
        USING (SELECT q.floor FROM jtd.queues AS q WHERE q.queue_name = p_queue), greatest_depth + 1;
    UPDATE jtd.queues AS q
    SET target_depth = CASE WHEN q.depth > now_there
            THEN least(greatest_depth, greatest(least_depth, 10 * (q.depth - now_there)
                / greatest(0.2, extract(epoch FROM clock_timestamp() - q.measured_at))))
            ELSE q.target_depth END,
        depth = now_there,
        measured_at = clock_timestamp()
    WHERE q.queue_name = p_queue
    RETURNING * INTO queue;
    RETURN greatest(0, queue.target_depth - now_there);
END
$$;
REVOKE ALL ON FUNCTION jtd.queue_room(text) FROM PUBLIC;
