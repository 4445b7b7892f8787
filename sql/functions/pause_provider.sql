-- Pauses a provider of a channel: nothing is handed to it until jtd.resume_provider; another of the channel goes on.
-- Called by: operators, jtd-worker pause.  Locks: its row of jtd.breakers.  false when there is no such channel.
-- p_provider: as in JTD_PROVIDERS without the channel, e.g. smtp.backup; the database knows no list of them.
CREATE OR REPLACE FUNCTION jtd.pause_provider(p_channel text, p_provider text, p_reason text DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO jtd.breakers AS b (channel_code, provider, code, retry_at, is_paused, pause_reason)
    SELECT c.code, p_provider, 'paused', now() + interval '100 years', true, p_reason
    FROM public.n_jtd_channels AS c WHERE c.code = p_channel
    ON CONFLICT (channel_code, provider) DO UPDATE
    SET code = excluded.code, retry_at = excluded.retry_at, is_paused = true, pause_reason = excluded.pause_reason;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION jtd.pause_provider(text, text, text) FROM PUBLIC;
