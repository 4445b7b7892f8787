-- Closes the breaker of a provider that works again; workers learn of it with their next tick.
-- Called by: the worker whose probe arrived.  Locks: the breaker's row.
CREATE OR REPLACE FUNCTION jtd.mended_v1(p_channel text, p_provider text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM jtd.breakers AS b WHERE b.channel_code = p_channel AND b.provider = p_provider AND NOT b.is_paused
$$;
REVOKE ALL ON FUNCTION jtd.mended_v1(text, text) FROM PUBLIC;
