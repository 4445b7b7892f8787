-- How many messages a queue may take now; adapts its target to about 0.6 s of what is read from it.
-- Called by: jtd.admit.  Locks: the queue's row in jtd.queues, if anything has changed.  A full queue gives 0.
-- Whoever comes last goes behind the whole target, for messages are read in order: so it is short, and shorter where
-- jobs are urgent. Messages that somebody has read, or that are hidden, are in nobody's way and do not count.
-- A queue that ran dry while jobs were ready tells only that the target was too small: it is doubled.
CREATE OR REPLACE FUNCTION jtd.queue_room(p_queue text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- the table is mostly what was deleted, of which the planner knows nothing
SET enable_bitmapscan = off
AS $$
DECLARE
    least_depth CONSTANT integer := 100;
    greatest_depth CONSTANT integer := 50000;
    last_id CONSTANT bigint := jtd.last_msg_id(p_queue);  -- before the count: what comes later is not yet read
    now_there integer;
    queue jtd.queues;
    was_read bigint;
    seconds double precision;
    wanted double precision;
    backlog boolean;
BEGIN
    SELECT * INTO queue FROM jtd.queues AS q WHERE q.queue_name = p_queue;
    EXECUTE format('SELECT count(*) FILTER (WHERE m.vt <= clock_timestamp()) FROM (SELECT q.vt FROM pgmq.%I AS q'
        ' WHERE q.msg_id >= $1 ORDER BY q.msg_id LIMIT $2) AS m', 'q_' || p_queue) INTO now_there
        USING queue.floor, 2 * greatest_depth;
    was_read := queue.depth + greatest(0, last_id - queue.last_msg_id) - now_there;
    IF was_read > 0 THEN
        seconds := extract(epoch FROM
            clock_timestamp() - greatest(queue.measured_at, clock_timestamp() - interval '2 s'));
        wanted := CASE queue.lane WHEN 'urgent' THEN 0.3 ELSE 0.6 END * was_read / greatest(0.1, seconds);
        IF now_there > 0 THEN
            queue.target_depth := queue.target_depth + (wanted - queue.target_depth) * least(1, seconds);
        ELSE
            backlog := EXISTS (SELECT FROM jtd.windows AS w
                WHERE w.channel_code = queue.channel_code AND w.lane = queue.lane);
            queue.target_depth := greatest(
                queue.target_depth * CASE WHEN backlog THEN 2 ELSE 1 END, least(wanted, greatest_depth));
        END IF;
        queue.target_depth := least(greatest_depth, greatest(least_depth, queue.target_depth));
    END IF;
    UPDATE jtd.queues AS q
    SET target_depth = queue.target_depth, depth = now_there, last_msg_id = last_id,
        measured_at = CASE WHEN was_read > 0 THEN clock_timestamp() ELSE q.measured_at END
    WHERE q.queue_name = p_queue AND (was_read > 0 OR q.depth <> now_there OR q.last_msg_id <> last_id);
    RETURN greatest(0, queue.target_depth - now_there);
END
$$;
REVOKE ALL ON FUNCTION jtd.queue_room(text) FROM PUBLIC;
