-- Moves the jobs that could not follow their notification at once, and deletes notifications that have expired.
-- Called by: jtd.tick_v1.  Locks: as jtd.move_seen and jtd.expire_feed.  Returns whether expired ones may be left.
CREATE OR REPLACE FUNCTION jtd.tend_feed(p_limit integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    late uuid[] := ARRAY(SELECT f.jtd_id FROM jtd.feed_moves AS f LIMIT p_limit);
BEGIN
    IF late <> '{}' THEN
        PERFORM jtd.move_seen(late);
    END IF;
    DELETE FROM jtd.feed_watchers AS w WHERE w.until < now();
    RETURN jtd.expire_feed(p_limit) = p_limit;
END
$$;
REVOKE ALL ON FUNCTION jtd.tend_feed(integer) FROM PUBLIC;
