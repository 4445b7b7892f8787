-- A notification, a row of public.n_inapp_notifications as JSON, as its user may see it.
-- Called by: jtd.feed_list_v1, jtd.feed_look_v1.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.feed_entry(p_row jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT jsonb_build_object(
        'id', p_row -> 'id', 'title', p_row -> 'title', 'body', p_row -> 'body', 'notification_type', p_row -> 'notification_type',
        'category', p_row -> 'category', 'action_url', p_row -> 'action_url', 'action_label', p_row -> 'action_label',
        'metadata', p_row -> 'metadata', 'created_at', p_row -> 'created_at', 'seen_at', p_row -> 'seen_at', 'read_at', p_row -> 'read_at',
        'archived_at', p_row -> 'archived_at', 'expires_at', p_row -> 'expires_at')
$$;
REVOKE ALL ON FUNCTION jtd.feed_entry(jsonb) FROM PUBLIC;
