-- The last msg_id that a queue has given out, also to transactions that have not ended; 0 before the first.
-- Called by: jtd.admit, jtd.queue_room, jtd.raise_floor.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.last_msg_id(p_queue text) RETURNS bigint
LANGUAGE sql VOLATILE
AS $$
    SELECT coalesce(pg_sequence_last_value(
        pg_get_serial_sequence(format('pgmq.%I', 'q_' || p_queue), 'msg_id')::regclass), 0)
$$;
REVOKE ALL ON FUNCTION jtd.last_msg_id(text) FROM PUBLIC;
