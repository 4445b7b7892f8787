-- Wakes the web processes whose streams sleep; under load none does, since NOTIFY makes transactions wait for one another.
-- Called by: AFTER INSERT statement trigger on public.n_inapp_notifications.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.feed_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM jtd.feed_watchers AS w WHERE w.is_asleep AND w.until > now()) AND EXISTS (SELECT FROM new_rows) THEN
        PERFORM pg_notify('jtd_feed', '');
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.feed_inserted() FROM PUBLIC;
