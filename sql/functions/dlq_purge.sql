-- Deletes dead letters for good.
-- Called by: operators, jtd-worker dlq purge.  Locks: the messages.  Returns how many; NULL asks for all.
CREATE OR REPLACE FUNCTION jtd.dlq_purge(p_msg_ids bigint[] DEFAULT NULL) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*)::integer FROM pgmq.delete('jtd_dlq', ARRAY(
        SELECT m.msg_id FROM pgmq.q_jtd_dlq AS m WHERE p_msg_ids IS NULL OR m.msg_id = ANY (p_msg_ids)))
$$;
REVOKE ALL ON FUNCTION jtd.dlq_purge(bigint[]) FROM PUBLIC;
