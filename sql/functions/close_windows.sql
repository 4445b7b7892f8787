-- Closes the windows of tenants whose jobs came onto the list of a queue since the last look.
-- Called by: jtd.admit.  Locks: what it reads of jtd.arrivals; the queue's row in jtd.queues.
-- Reads from where it ended: below the oldest transaction that still runs nothing can be added. So it does not walk
-- past what was deleted while an old snapshot is open. What exceeds its limit is read by the next tick.
CREATE OR REPLACE FUNCTION jtd.close_windows(p_queue text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off  -- the table is mostly what was deleted, of which the planner knows nothing
SET enable_bitmapscan = off
AS $$
DECLARE
    most CONSTANT integer := 10000;
    complete CONSTANT bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    queue jtd.queues;
    came integer;
    last bigint;
BEGIN
    SELECT * INTO queue FROM jtd.queues AS q WHERE q.queue_name = p_queue;
    WITH gone AS (
        DELETE FROM jtd.arrivals AS a
        WHERE a.ctid = ANY (ARRAY(
            SELECT x.ctid
            FROM jtd.arrivals AS x
            WHERE x.channel_code = queue.channel_code AND x.lane = queue.lane
                -- in a restored database transactions count anew
                AND x.txid >= CASE WHEN queue.arrivals_from <= complete THEN queue.arrivals_from ELSE 0 END
            ORDER BY x.txid, x.tenant_id
            LIMIT most))
        RETURNING a.txid, a.tenant_id
    ), closed AS (
        INSERT INTO jtd.windows (channel_code, lane, tenant_id)
        SELECT DISTINCT queue.channel_code, queue.lane, g.tenant_id FROM gone AS g
        ON CONFLICT DO NOTHING
    )
    SELECT count(*), max(g.txid) INTO came, last FROM gone AS g;
    IF came > 0 THEN
        UPDATE jtd.queues AS q
        SET arrivals_from = CASE WHEN came = most THEN least(last, complete) ELSE complete END
        WHERE q.queue_name = p_queue;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION jtd.close_windows(text) FROM PUBLIC;
