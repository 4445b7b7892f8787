-- The notifications of a user, newest first: {"id", "title", "body", "notification_type", "category", "action_url", "action_label",
-- "metadata", "created_at", "seen_at", "read_at", "archived_at", "expires_at"} each.
-- Called by: jtd-worker serve.  Locks: nothing.  No rows, no answer.
-- p_before: only those before that id; NULL from the newest. p_show: `unarchived`, `unread` or `archived`. p_category: NULL is all.
CREATE OR REPLACE FUNCTION jtd.feed_list_v1(
    p_tenant uuid, p_user uuid, p_before uuid, p_limit integer, p_show text, p_category text)
RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before CONSTANT uuid := coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
BEGIN
    -- written twice, since only so each has its index
    IF p_show = 'unread' THEN
        RETURN QUERY SELECT jtd.feed_entry(to_jsonb(n))
        FROM public.n_inapp_notifications AS n
        WHERE n.tenant_id = p_tenant AND n.user_id = p_user AND n.id < before
            AND n.read_at IS NULL AND n.archived_at IS NULL
            AND (p_category IS NULL OR n.category = p_category)
            AND (n.expires_at IS NULL OR n.expires_at > now())
        ORDER BY n.id DESC LIMIT p_limit;
    ELSE
        RETURN QUERY SELECT jtd.feed_entry(to_jsonb(n))
        FROM public.n_inapp_notifications AS n
        WHERE n.tenant_id = p_tenant AND n.user_id = p_user AND n.id < before
            AND (n.archived_at IS NOT NULL) = (p_show = 'archived')
            AND (p_category IS NULL OR n.category = p_category)
            AND (n.expires_at IS NULL OR n.expires_at > now())
        ORDER BY n.id DESC LIMIT p_limit;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION jtd.feed_list_v1(uuid, uuid, uuid, integer, text, text) FROM PUBLIC;
