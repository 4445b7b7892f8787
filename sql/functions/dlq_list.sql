-- The dead letters, oldest first.
-- Called by: operators, jtd-worker dlq list.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.dlq_list(p_limit integer DEFAULT 100)
RETURNS TABLE (msg_id bigint, enqueued_at timestamptz, queue_name text, reason text, body jsonb)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.msg_id, m.enqueued_at, m.message ->> 'queue', m.message ->> 'reason', m.message -> 'body'
    FROM pgmq.q_jtd_dlq AS m
    ORDER BY m.msg_id
    LIMIT p_limit
$$;
REVOKE ALL ON FUNCTION jtd.dlq_list(integer) FROM PUBLIC;
