-- Deletes messages that a claim did not turn into work, and counts them by reason.
-- Called by: jtd.dispose.  Locks: the counter's row, for the rest of the transaction.
CREATE OR REPLACE FUNCTION jtd.discard(p_queue text, p_reason text, p_msg_ids bigint[], p_last uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM pgmq.delete(p_queue, p_msg_ids);
    PERFORM jtd.count_discard(p_queue, p_reason, cardinality(p_msg_ids), p_last);
END
$$;
REVOKE ALL ON FUNCTION jtd.discard(text, text, bigint[], uuid) FROM PUBLIC;
