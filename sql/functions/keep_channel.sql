-- Refuses to take the channel of a message away, or to name one that is not there.
-- Called by: BEFORE UPDATE row trigger on public.n_jtd, when the channel changes.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.keep_channel() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM public.n_jtd_event_types AS e WHERE e.code = NEW.event_type_code AND e.is_message)
        AND NOT EXISTS (SELECT FROM public.n_jtd_channels AS c WHERE c.code = NEW.channel_code)
    THEN
        PERFORM jtd.refuse('JT002', 'channel', NEW.channel_code, ARRAY(
            SELECT c.code FROM public.n_jtd_channels AS c WHERE c.is_active ORDER BY c.display_order, c.code));
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.keep_channel() FROM PUBLIC;
