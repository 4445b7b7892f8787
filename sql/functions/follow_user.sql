-- Lets jobs follow what a user did with their notifications, and tells the streams of that user that his counts changed.
-- Called by: jtd.feed_seen_v1, jtd.feed_read_v1, jtd.feed_archive_v1.  Locks: as jtd.move_seen, and its entries of jtd.feed_moves.
-- What is entered here moves even if somebody holds the job now: with a later tick. NULL for no jobs.
CREATE OR REPLACE FUNCTION jtd.follow_user(p_tenant uuid, p_user uuid, p_jobs uuid[], p_status text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_jobs IS NOT NULL THEN
        INSERT INTO jtd.feed_moves (jtd_id, status_code, user_id)
        SELECT u.id, p_status, p_user FROM unnest(p_jobs) AS u (id) ORDER BY u.id
        ON CONFLICT (jtd_id) DO UPDATE SET status_code = 'read', user_id = excluded.user_id
            WHERE excluded.status_code = 'read';
        PERFORM jtd.move_seen(p_jobs);
    END IF;
    IF EXISTS (SELECT FROM jtd.feed_watchers AS w WHERE w.until > now()) THEN
        PERFORM pg_notify('jtd_feed', p_tenant || ':' || p_user);
    END IF;
END
$$;
REVOKE ALL ON FUNCTION jtd.follow_user(uuid, uuid, uuid[], text) FROM PUBLIC;
