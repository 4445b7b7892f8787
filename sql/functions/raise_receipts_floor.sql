-- Raises the floor of jtd.receipts_due to its oldest entry, so that readers do not walk past what was deleted long ago.
-- Called by: jtd.tick_v1.  Locks: the row of jtd.receipts_progress, which nobody else writes but the scheduler.
-- Never beyond the oldest transaction that still runs: what that one lists has its number as turn.
-- Only by steps: on a database at rest nothing is written.
CREATE OR REPLACE FUNCTION jtd.raise_receipts_floor() RETURNS void
LANGUAGE sql VOLATILE
SET enable_seqscan = off  -- the table is mostly what was deleted, of which the planner knows nothing
SET enable_bitmapscan = off
AS $$
    UPDATE jtd.receipts_progress AS p SET floor = l.floor
    FROM (SELECT least(
        (SELECT d.turn FROM jtd.receipts_due AS d WHERE d.turn >= jtd.receipts_floor() ORDER BY d.turn LIMIT 1),
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint) AS floor) AS l
    WHERE l.floor NOT BETWEEN p.floor AND p.floor + 1000 AND EXISTS (SELECT FROM public.n_jtd_receipts)
$$;
REVOKE ALL ON FUNCTION jtd.raise_receipts_floor() FROM PUBLIC;
