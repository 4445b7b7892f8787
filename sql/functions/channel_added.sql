-- Makes the queues of a channel as soon as its row is there.
-- Called by: AFTER INSERT statement trigger on public.n_jtd_channels.  Locks: nothing for long.
CREATE OR REPLACE FUNCTION jtd.channel_added() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM jtd.make_queues();
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.channel_added() FROM PUBLIC;
