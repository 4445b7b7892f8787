-- Saves by which ids providers know jobs, and lists the receipts that were parked for them as due.
-- Called by: jtd.sent_updated, jtd.sent_inserted, jtd.note_late.  Locks: nothing; the caller holds the jobs.
CREATE OR REPLACE FUNCTION jtd.save_sent_ids(p_message_keys uuid[], p_ids uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO jtd.sent_ids (message_key, jtd_id)
    SELECT u.message_key, u.jtd_id FROM unnest(p_message_keys, p_ids) AS u (message_key, jtd_id)
    WHERE u.message_key IS NOT NULL
    ON CONFLICT DO NOTHING;
    PERFORM jtd.wake_receipts(p_message_keys, '{}');
END
$$;
REVOKE ALL ON FUNCTION jtd.save_sent_ids(uuid[], uuid[]) FROM PUBLIC;
