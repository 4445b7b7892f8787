-- Marks what a user has seen: his notifications up to an id; NULL is all of them. At most p_limit; returns how many it marked.
-- Called by: jtd-worker serve, until it marks fewer than p_limit.  Locks: the notifications, by id; then as jtd.move_seen.
CREATE OR REPLACE FUNCTION jtd.feed_seen_v1(p_tenant uuid, p_user uuid, p_up_to uuid, p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found uuid[];
    jobs uuid[];
BEGIN
    found := ARRAY(
        SELECT n.id FROM public.n_inapp_notifications AS n
        WHERE n.tenant_id = p_tenant AND n.user_id = p_user AND n.seen_at IS NULL AND n.archived_at IS NULL
            AND (n.expires_at IS NULL OR n.expires_at > now())
            AND n.id <= coalesce(p_up_to, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        ORDER BY n.id LIMIT p_limit FOR NO KEY UPDATE);
    WITH marked AS (
        UPDATE public.n_inapp_notifications AS n SET seen_at = now() WHERE n.id = ANY (found)
        RETURNING n.source_jtd_id
    )
    SELECT array_agg(m.source_jtd_id) INTO jobs FROM marked AS m WHERE m.source_jtd_id IS NOT NULL;
    PERFORM jtd.follow_user(p_tenant, p_user, jobs, 'delivered');
    RETURN cardinality(found);
END
$$;
REVOKE ALL ON FUNCTION jtd.feed_seen_v1(uuid, uuid, uuid, integer) FROM PUBLIC;
