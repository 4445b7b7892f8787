-- Deletes notifications that have expired, at most p_limit; returns how many.
-- Called by: jtd.tend_feed.  Locks: the notifications, SKIP LOCKED.
CREATE OR REPLACE FUNCTION jtd.expire_feed(p_limit integer) RETURNS integer
LANGUAGE sql VOLATILE
AS $$
    WITH gone AS (
        DELETE FROM public.n_inapp_notifications AS n WHERE n.id = ANY (ARRAY(
            SELECT x.id FROM public.n_inapp_notifications AS x WHERE x.expires_at <= now()
            ORDER BY x.expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED))
        RETURNING n.id
    )
    SELECT count(*)::integer FROM gone
$$;
REVOKE ALL ON FUNCTION jtd.expire_feed(integer) FROM PUBLIC;
