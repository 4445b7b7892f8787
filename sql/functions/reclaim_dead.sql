-- Reclaims the jobs of workers whose lease is over, and takes those workers out.
-- Called by: jtd.tick_v1.  Locks: rows of n_jtd by id, SKIP LOCKED.  Returns how many jobs it took back.
-- Not before the database has been up, and the caller connected, for a whole lease: after a restart every
-- lease is over, and workers that are alive come back first to settle what they hold.
CREATE OR REPLACE FUNCTION jtd.reclaim_dead(p_worker uuid, p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lost uuid[];
    reclaimed integer := 0;
BEGIN
    IF NOT EXISTS (
        SELECT FROM jtd.workers AS me
        WHERE me.id = p_worker AND me.lease_until > clock_timestamp()
            AND greatest(pg_postmaster_start_time(), me.started_at) < clock_timestamp()
                - make_interval(secs => (SELECT max(w.lease_seconds) FROM jtd.workers AS w)))
    THEN
        RETURN 0;
    END IF;
    lost := ARRAY(
        SELECT f.jtd_id
        FROM jtd.inflight AS f
        LEFT JOIN jtd.workers AS w ON w.id = f.worker_id
        WHERE coalesce(w.lease_until, '-infinity') < clock_timestamp()
        ORDER BY f.jtd_id
        LIMIT p_limit);
    IF lost <> '{}' THEN
        PERFORM FROM public.n_jtd AS j WHERE j.id = ANY (lost) ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED;
        -- with the rows held nothing is handed off; a worker that came back meanwhile keeps what it has
        reclaimed := jtd.reclaim(ARRAY(
            SELECT f.jtd_id
            FROM jtd.inflight AS f
            LEFT JOIN jtd.workers AS w ON w.id = f.worker_id
            WHERE f.jtd_id = ANY (lost) AND coalesce(w.lease_until, '-infinity') < clock_timestamp()));
    END IF;
    DELETE FROM jtd.workers AS w
    WHERE w.lease_until < clock_timestamp() - interval '1 minute'
        AND NOT EXISTS (SELECT FROM jtd.inflight AS f WHERE f.worker_id = w.id);
    DELETE FROM jtd.sleepers AS s WHERE NOT EXISTS (SELECT FROM jtd.workers AS w WHERE w.id = s.worker_id);
    RETURN reclaimed;
END
$$;
REVOKE ALL ON FUNCTION jtd.reclaim_dead(uuid, integer) FROM PUBLIC;
