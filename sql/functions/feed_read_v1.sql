-- Marks notifications of a user as read, and so as seen; returns how many were not. Ids that are not his are passed over.
-- Called by: jtd-worker serve.  Locks: the notifications, by id; then as jtd.move_seen.
CREATE OR REPLACE FUNCTION jtd.feed_read_v1(p_tenant uuid, p_user uuid, p_ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found uuid[];
    jobs uuid[];
BEGIN
    found := ARRAY(
        SELECT n.id FROM public.n_inapp_notifications AS n
        WHERE n.id = ANY (p_ids) AND n.tenant_id = p_tenant AND n.user_id = p_user AND n.read_at IS NULL
        ORDER BY n.id FOR NO KEY UPDATE);
    WITH marked AS (
        UPDATE public.n_inapp_notifications AS n SET read_at = now(), seen_at = coalesce(n.seen_at, now())
        WHERE n.id = ANY (found)
        RETURNING n.source_jtd_id
    )
    SELECT array_agg(m.source_jtd_id) INTO jobs FROM marked AS m WHERE m.source_jtd_id IS NOT NULL;
    PERFORM jtd.follow_user(p_tenant, p_user, jobs, 'read');
    RETURN cardinality(found);
END
$$;
REVOKE ALL ON FUNCTION jtd.feed_read_v1(uuid, uuid, uuid[]) FROM PUBLIC;
