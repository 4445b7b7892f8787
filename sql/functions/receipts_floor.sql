-- Where readers of jtd.receipts_due begin.
-- Called by: jtd.apply_receipts_v1, jtd.tick_v1, jtd.raise_receipts_floor.  Locks: nothing.
-- 0 while the database, restored elsewhere, counts its transactions anew.
CREATE OR REPLACE FUNCTION jtd.receipts_floor() RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN p.floor <= pg_snapshot_xmin(pg_current_snapshot())::text::bigint THEN p.floor ELSE 0 END
    FROM jtd.receipts_progress AS p
$$;
REVOKE ALL ON FUNCTION jtd.receipts_floor() FROM PUBLIC;
