-- Lets a paused provider go on; workers learn of it with their next tick.
-- Called by: operators, jtd-worker resume.  Locks: its row of jtd.breakers.  false when it was not paused.
CREATE OR REPLACE FUNCTION jtd.resume_provider(p_channel text, p_provider text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM jtd.breakers AS b WHERE b.channel_code = p_channel AND b.provider = p_provider AND b.is_paused;
    RETURN FOUND;
END
$$;
REVOKE ALL ON FUNCTION jtd.resume_provider(text, text) FROM PUBLIC;
