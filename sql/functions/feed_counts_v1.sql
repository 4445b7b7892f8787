-- How many notifications of each of these users are unseen, and unread; one row per pair of p_tenants and p_users, in their order.
-- Called by: jtd-worker serve.  Locks: nothing.
-- 1000 says 1,000 or more: so the answer takes the same time however many there are.
CREATE OR REPLACE FUNCTION jtd.feed_counts_v1(p_tenants uuid[], p_users uuid[])
RETURNS TABLE (unseen integer, unread integer)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT
        (SELECT count(*)::integer FROM (
            SELECT FROM public.n_inapp_notifications AS n
            WHERE n.tenant_id = k.tenant_id AND n.user_id = k.user_id AND n.seen_at IS NULL AND n.archived_at IS NULL
                AND (n.expires_at IS NULL OR n.expires_at > now())
            LIMIT 1000) AS unseen),
        (SELECT count(*)::integer FROM (
            SELECT FROM public.n_inapp_notifications AS n
            WHERE n.tenant_id = k.tenant_id AND n.user_id = k.user_id AND n.read_at IS NULL AND n.archived_at IS NULL
                AND (n.expires_at IS NULL OR n.expires_at > now())
            LIMIT 1000) AS unread)
    FROM unnest(p_tenants, p_users) WITH ORDINALITY AS k (tenant_id, user_id, place)
    ORDER BY k.place
$$;
REVOKE ALL ON FUNCTION jtd.feed_counts_v1(uuid[], uuid[]) FROM PUBLIC;
