-- Raises the floor of a queue to its lowest message, a look later than it was seen.
-- Called by: jtd.admit.  Locks: the queue's row in jtd.queues.
-- A message of a transaction that still runs may have a lower number: so what was the lowest becomes the floor only
-- when every transaction of that time has ended, and with what they brought.
CREATE OR REPLACE FUNCTION jtd.raise_floor(p_queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- the table is mostly what was deleted, of which the planner knows nothing
SET enable_bitmapscan = off
AS $$
DECLARE
    queue jtd.queues;
    lowest bigint;
    brought bigint;
BEGIN
    SELECT * INTO queue FROM jtd.queues AS q WHERE q.queue_name = p_queue;
    IF queue.next_floor IS NOT NULL AND pg_snapshot_xmin(pg_current_snapshot()) < queue.next_floor_from THEN
        RETURN;
    END IF;
    IF queue.next_floor IS NOT NULL THEN
        EXECUTE format('SELECT m.msg_id FROM pgmq.%I AS m WHERE m.msg_id >= $1 AND m.msg_id < $2'
            ' ORDER BY m.msg_id LIMIT 1', 'q_' || p_queue) INTO brought USING queue.floor, queue.next_floor;
        queue.floor := coalesce(brought, queue.next_floor);
    END IF;
    EXECUTE format('SELECT m.msg_id FROM pgmq.%I AS m WHERE m.msg_id >= $1 ORDER BY m.msg_id LIMIT 1', 'q_' || p_queue)
        INTO lowest USING queue.floor;
    lowest := coalesce(lowest,  -- of an empty queue: what comes next
        jtd.last_msg_id(p_queue) + 1);
    UPDATE jtd.queues AS q
    SET floor = queue.floor,
        next_floor = CASE WHEN lowest > queue.floor THEN lowest END,
        next_floor_from = pg_snapshot_xmax(pg_current_snapshot())
    WHERE q.queue_name = p_queue
        AND (q.floor <> queue.floor OR q.next_floor IS NOT NULL OR lowest > queue.floor);
END
$$;
REVOKE ALL ON FUNCTION jtd.raise_floor(text) FROM PUBLIC;
