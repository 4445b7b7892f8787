-- Pauses a channel: nothing of it is claimed or admitted until jtd.resume. What runs is finished.
-- Called by: operators, jtd-worker pause.  Locks: the channel's row.  false when there is no such channel.
CREATE OR REPLACE FUNCTION jtd.pause(p_channel text, p_reason text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.n_jtd_channels AS c SET is_paused = true, pause_reason = p_reason, updated_at = now()
    WHERE c.code = p_channel;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION jtd.pause(text, text) FROM PUBLIC;
