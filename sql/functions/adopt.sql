-- Enters this database as the one whose jobs are sent; from now on workers send them.
-- Called by: jtd-worker adopt, after jtd.adopt_jobs has looked at every job.
-- Locks: the row of jtd.instance, and n_jtd against changes.
-- p_from: when the adoption began. Returns whether anything changed.
CREATE OR REPLACE FUNCTION jtd.adopt(p_from timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jtd.is_adopted() THEN
        RETURN false;
    END IF;
    INSERT INTO jtd.instance AS i (system_identifier, database_oid, timeline, known_since, adopted_by)
    SELECT h.system_identifier, h.database_oid, h.timeline, p_from, coalesce(a.actor_name, session_user)
    FROM jtd.here() AS h CROSS JOIN jtd.actor() AS a
    ON CONFLICT (is_only) DO UPDATE
    SET system_identifier = excluded.system_identifier, database_oid = excluded.database_oid,
        timeline = excluded.timeline, known_since = excluded.known_since, adopted_by = excluded.adopted_by;
    -- transaction ids began anew, and the counts with them; no job changes while they are taken
    LOCK TABLE public.n_jtd IN SHARE MODE;
    DELETE FROM jtd.counts;
    INSERT INTO jtd.counts (tenant_id, channel_code, event_type_code, status_code, jobs)
    SELECT j.tenant_id, coalesce(j.channel_code, ''), j.event_type_code, j.status_code, count(*)
    FROM public.n_jtd AS j
    GROUP BY 1, 2, 3, 4;
    UPDATE jtd.counted SET below_txid = pg_snapshot_xmax(pg_current_snapshot())::text::bigint, counted_at = now();
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION jtd.adopt(timestamptz) FROM PUBLIC;
