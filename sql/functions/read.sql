-- Reads messages as pgmq.read does, lowest first, but begins at the queue's floor.
-- Called by: jtd.claim_v1.  Locks: the messages, SKIP LOCKED.  An empty queue gives no rows.
-- While an old snapshot is open anywhere, deleted messages cannot be vacuumed: pgmq.read walks past all of them.
CREATE OR REPLACE FUNCTION jtd.read(p_queue text, p_floor bigint, p_vt integer, p_limit integer)
RETURNS TABLE (msg_id bigint, message jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- the table is mostly what was deleted, of which the planner knows nothing
SET enable_bitmapscan = off
AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'WITH readable AS ('
        '    SELECT q.msg_id FROM pgmq.%1$I AS q WHERE q.msg_id >= $1 AND q.vt <= clock_timestamp()'
        '    ORDER BY q.msg_id LIMIT $2 FOR UPDATE SKIP LOCKED)'
        ' UPDATE pgmq.%1$I AS m SET vt = clock_timestamp() + make_interval(secs => $3), read_ct = m.read_ct + 1'
        ' FROM readable AS r WHERE m.msg_id = r.msg_id RETURNING m.msg_id, m.message', 'q_' || p_queue)
        USING p_floor, p_limit, p_vt;
END
$$;
REVOKE ALL ON FUNCTION jtd.read(text, bigint, integer, integer) FROM PUBLIC;
