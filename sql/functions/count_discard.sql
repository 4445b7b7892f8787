-- Counts messages that a claim met and did not turn into work.
-- Called by: jtd.discard, jtd.dispose.  Locks: the counter's row, for the rest of the transaction.
CREATE OR REPLACE FUNCTION jtd.count_discard(p_queue text, p_reason text, p_count bigint, p_last uuid) RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO jtd.discards AS d (queue_name, reason, count, last_at, last_jtd_id)
    VALUES (p_queue, p_reason, p_count, now(), p_last)
    ON CONFLICT (queue_name, reason) DO UPDATE
    SET count = d.count + excluded.count, last_at = excluded.last_at, last_jtd_id = excluded.last_jtd_id
$$;
REVOKE ALL ON FUNCTION jtd.count_discard(text, text, bigint, uuid) FROM PUBLIC;
