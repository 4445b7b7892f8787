-- Resumes a paused channel and wakes its workers.
-- Called by: operators, jtd-worker resume.  Locks: the channel's row.  false when there is no such channel.
CREATE OR REPLACE FUNCTION jtd.resume(p_channel text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.n_jtd_channels AS c SET is_paused = false, pause_reason = NULL, updated_at = now()
    WHERE c.code = p_channel;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM pg_notify('jtd_wake', q.queue_name) FROM jtd.queues AS q WHERE q.channel_code = p_channel;
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION jtd.resume(text) FROM PUBLIC;
