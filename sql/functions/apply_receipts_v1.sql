-- Applies receipts that are due to their jobs, in sets.
-- Called by: the web process after each accept, and jtd.tick_v1.  Locks: entries of jtd.receipts_due, receipts, then rows
-- of n_jtd by id, all SKIP LOCKED.
-- Returns how many receipts were applied, and ignored; how many stay parked, for their job to appear or to leave
-- executing; and whether a next call has something to do now. What it does is entered as done by the actor webhook.
-- A receipt without a job is looked at twice: the second time when every transaction is over that may have been saving
-- the provider's id at the first. After that, who saves the id lists the receipt again.
CREATE OR REPLACE FUNCTION jtd.apply_receipts_v1(p_limit integer)
RETURNS TABLE (applied integer, ignored integer, parked integer, more boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jtd.actor = 'webhook'
AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT integer := greatest(least(p_limit, 5000), 1);
    taken bigint[];
    looked_at_before bigint[];
    entries integer;
    lowest CONSTANT bigint := jtd.receipts_floor();
    done record;
BEGIN
    WITH turn AS (
        DELETE FROM jtd.receipts_due AS d
        WHERE d.ctid = ANY (ARRAY(
            SELECT x.ctid FROM jtd.receipts_due AS x
            -- what is beyond xmax is of the database's life before it was restored elsewhere
            WHERE x.turn >= lowest AND (x.after_txid <= (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
                OR x.after_txid > (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint))
            ORDER BY x.turn, x.receipt_id LIMIT most FOR UPDATE SKIP LOCKED))
        RETURNING d.receipt_id, d.after_txid
    )
    SELECT array_agg(DISTINCT t.receipt_id), coalesce(array_agg(t.receipt_id) FILTER (WHERE t.after_txid > 0), '{}'),
        count(*)
    INTO taken, looked_at_before, entries FROM turn AS t;
    IF taken IS NULL THEN
        RETURN QUERY SELECT 0, 0, 0, false;
        RETURN;
    END IF;
    SELECT s.* INTO done FROM jtd.settle_receipts(taken) AS s;
    INSERT INTO jtd.receipts_due (turn, receipt_id, after_txid)
    SELECT pg_current_xact_id()::text::bigint + 10000, u.id, 0  -- behind what comes meanwhile
    FROM unnest(done.locked) AS u (id)
    UNION ALL
    SELECT pg_current_xact_id()::text::bigint, u.id, pg_snapshot_xmax(pg_current_snapshot())::text::bigint FROM unnest(done.unmatched) AS u (id)
    WHERE u.id <> ALL (looked_at_before);
    RETURN QUERY SELECT done.applied, done.ignored, done.parked + cardinality(done.locked),
        entries = most AND cardinality(done.locked) < cardinality(taken);
END
$$;
REVOKE ALL ON FUNCTION jtd.apply_receipts_v1(integer) FROM PUBLIC;
