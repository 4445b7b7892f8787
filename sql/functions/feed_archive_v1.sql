-- Puts notifications of a user away; returns how many were not. Ids that are not his are passed over. It says nothing of their jobs.
-- Called by: jtd-worker serve.  Locks: the notifications, by id.
CREATE OR REPLACE FUNCTION jtd.feed_archive_v1(p_tenant uuid, p_user uuid, p_ids uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found uuid[];
BEGIN
    found := ARRAY(
        SELECT n.id FROM public.n_inapp_notifications AS n
        WHERE n.id = ANY (p_ids) AND n.tenant_id = p_tenant AND n.user_id = p_user AND n.archived_at IS NULL
        ORDER BY n.id FOR NO KEY UPDATE);
    UPDATE public.n_inapp_notifications AS n SET archived_at = now() WHERE n.id = ANY (found);
    PERFORM jtd.follow_user(p_tenant, p_user, NULL, NULL);
    RETURN cardinality(found);
END
$$;
REVOKE ALL ON FUNCTION jtd.feed_archive_v1(uuid, uuid, uuid[]) FROM PUBLIC;
