-- Forgets jobs that were deleted; their queue messages are discarded by the claim that meets them.
-- Called by: AFTER DELETE statement trigger on public.n_jtd.  Locks: the list rows.
CREATE OR REPLACE FUNCTION jtd.forget_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT o.id FROM old_rows AS o);
    may_be_sent uuid[] := ARRAY(  -- in the message of a job that was deleted after it had been handed off
        SELECT m.id FROM public.n_jtd AS m
        JOIN old_rows AS o ON o.id = m.carrier_id AND m.id = ANY (o.carries)
        LEFT JOIN jtd.inflight AS f ON f.jtd_id = o.id
        WHERE m.status_code = 'pending' AND (o.executed_at IS NOT NULL OR f.handed_off_at IS NOT NULL)
        ORDER BY m.id FOR NO KEY UPDATE OF m);
BEGIN
    IF may_be_sent <> '{}' THEN
        UPDATE public.n_jtd AS m SET error_code = 'outcome_unknown', carrier_id = m.id,
            error_message = 'the job whose message carried it was deleted'
        WHERE m.id = ANY (may_be_sent);
        PERFORM jtd.step(may_be_sent, 'failed');
        UPDATE public.n_jtd AS m SET completed_at = now() WHERE m.id = ANY (may_be_sent);
    END IF;
    PERFORM jtd.unlist(ids);
    DELETE FROM jtd.attention AS a WHERE a.jtd_id = ANY (ids);
    DELETE FROM jtd.inflight AS f WHERE f.jtd_id = ANY (ids);
    DELETE FROM jtd.recurring AS r WHERE r.jtd_id = ANY (ids);
    WITH work AS (DELETE FROM jtd.work AS w WHERE w.jtd_id = ANY (ids) RETURNING w.jtd_id)
    INSERT INTO jtd.vani_wakes (jtd_id) SELECT w.jtd_id FROM work AS w;  -- VaNi cancels her messages about it
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.forget_deleted() FROM PUBLIC;
