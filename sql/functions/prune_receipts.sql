-- Ends receipts that no job was found for within 3 days, and forgets old ones: receipts after 90 days, the providers' ids
-- of jobs after 40.
-- Called by: jtd.tick_v1.  Locks: those rows, SKIP LOCKED.  Takes up to p_limit of each.
-- Looks once a minute, and goes on at once while there is more: under an old snapshot each look passes what it deleted.
CREATE OR REPLACE FUNCTION jtd.prune_receipts(p_limit integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $$
BEGIN
    IF EXISTS (SELECT FROM jtd.receipts_progress AS p WHERE p.pruned_at > now() - interval '1 min') THEN
        RETURN;
    END IF;
    WITH ended AS (
        UPDATE public.n_jtd_receipts AS r SET state = 'ignored', state_changed_at = now()
        WHERE r.id = ANY (ARRAY(
            SELECT x.id
            FROM (SELECT p.id, p.received_at FROM public.n_jtd_receipts AS p
                WHERE p.state = 'parked' AND p.state_reason IS NOT NULL ORDER BY p.id LIMIT p_limit) AS o
            CROSS JOIN LATERAL (
                SELECT l.id FROM public.n_jtd_receipts AS l WHERE l.id = o.id FOR NO KEY UPDATE SKIP LOCKED) AS x
            WHERE o.received_at < now() - interval '3 days'))
        RETURNING r.id
    ), forgotten AS (
        DELETE FROM public.n_jtd_receipts AS r
        WHERE r.state <> 'parked' AND r.id = ANY (ARRAY(
            SELECT o.id
            FROM (SELECT p.id, p.received_at FROM public.n_jtd_receipts AS p ORDER BY p.id LIMIT p_limit) AS o
            WHERE o.received_at < now() - interval '90 days'))
        RETURNING r.id
    ), lost AS (
        DELETE FROM jtd.sent_ids AS s
        WHERE s.ctid = ANY (ARRAY(
            SELECT x.ctid FROM jtd.sent_ids AS x
            WHERE x.saved_at < now() - interval '40 days' ORDER BY x.saved_at LIMIT p_limit))
        RETURNING s.jtd_id
    )
    UPDATE jtd.receipts_progress AS p SET pruned_at = now()
    WHERE greatest((SELECT count(*) FROM ended), (SELECT count(*) FROM forgotten), (SELECT count(*) FROM lost)) < p_limit;
END
$$;
REVOKE ALL ON FUNCTION jtd.prune_receipts(integer) FROM PUBLIC;
