-- Lists parked receipts as due whose provider's id was saved, or whose job has left executing.
-- Called by: jtd.save_sent_ids, jtd.sent_updated.  Locks: nothing: it only adds entries, and waits for nobody.
CREATE OR REPLACE FUNCTION jtd.wake_receipts(p_message_keys uuid[], p_ids uuid[]) RETURNS void
LANGUAGE sql VOLATILE
SET enable_seqscan = off  -- the table may have grown a thousandfold since the planner last heard of it
AS $$
    INSERT INTO jtd.receipts_due (receipt_id)
    SELECT r.id FROM public.n_jtd_receipts AS r
    WHERE r.state = 'parked' AND r.message_key IS NOT NULL AND r.message_key = ANY (p_message_keys)
    UNION
    SELECT r.id FROM public.n_jtd_receipts AS r
    WHERE r.state = 'parked' AND r.jtd_id IS NOT NULL AND r.jtd_id = ANY (p_ids)
$$;
REVOKE ALL ON FUNCTION jtd.wake_receipts(uuid[], uuid[]) FROM PUBLIC;
