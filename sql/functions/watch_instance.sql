-- Notices a new timeline: a failover or a recovery, by which what was written last may be lost.
-- Called by: jtd.tick_v1, by one worker at a time.  Locks: the row of jtd.instance.
CREATE OR REPLACE FUNCTION jtd.watch_instance() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE jtd.instance AS i
    SET timeline = h.timeline, turned_at = clock_timestamp()
    FROM jtd.here() AS h
    WHERE i.timeline <> h.timeline AND h.timeline <> 0
$$;
REVOKE ALL ON FUNCTION jtd.watch_instance() FROM PUBLIC;
