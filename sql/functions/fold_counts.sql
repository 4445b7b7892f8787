-- Adds to jtd.counts what the audit trail has told since the last time.
-- Called by: jtd.tick_v1, by one worker at a time.  Locks: rows of jtd.counts, which nobody else writes.
-- Counts only transactions below the oldest that still runs, so that none is counted twice or left out.
-- Returns how many audit rows it counted.
CREATE OR REPLACE FUNCTION jtd.fold_counts() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- a month's first plan, made for a few rows, would be kept for the rest of it
AS $$
DECLARE
    below CONSTANT bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    last jtd.counted;
    counted integer;
BEGIN
    SELECT * INTO last FROM jtd.counted;
    WITH step AS MATERIALIZED (
        SELECT h.tenant_id, coalesce(h.channel_code, '') AS channel_code, h.event_type_code, h.from_status_code,
            h.to_status_code, count(*) AS jobs
        FROM public.n_jtd_history AS h
        WHERE h.txid >= last.below_txid AND h.txid < below AND h.created_at >= last.counted_at - interval '7 days'
            AND h.action IN ('created', 'imported', 'status_changed', 'deleted')
            AND h.tenant_id IS NOT NULL AND h.event_type_code IS NOT NULL  -- remarks of services may lack them
        GROUP BY 1, 2, 3, 4, 5
    ), change AS (
        SELECT s.tenant_id, s.channel_code, s.event_type_code, c.status_code, sum(c.jobs) AS jobs
        FROM step AS s
        CROSS JOIN LATERAL (VALUES (s.to_status_code, s.jobs), (s.from_status_code, -s.jobs)) AS c (status_code, jobs)
        WHERE c.status_code IS NOT NULL
        GROUP BY 1, 2, 3, 4
    ), added AS (
        INSERT INTO jtd.counts AS t (tenant_id, channel_code, event_type_code, status_code, jobs)
        SELECT c.tenant_id, c.channel_code, c.event_type_code, c.status_code, c.jobs
        FROM change AS c
        WHERE c.jobs <> 0
        ORDER BY 1, 2, 3, 4
        ON CONFLICT (tenant_id, channel_code, event_type_code, status_code) DO UPDATE
        SET jobs = t.jobs + excluded.jobs
    )
    SELECT coalesce(sum(s.jobs), 0) INTO counted FROM step AS s;
    IF counted > 0 THEN
        UPDATE jtd.counted SET below_txid = below, counted_at = now();
    END IF;
    RETURN counted;
END
$$;
REVOKE ALL ON FUNCTION jtd.fold_counts() FROM PUBLIC;
