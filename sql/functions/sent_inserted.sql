-- Saves the providers' ids of jobs that were brought here sent.
-- Called by: AFTER INSERT statement trigger on public.n_jtd.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.sent_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows AS n WHERE n.provider_message_id IS NOT NULL) THEN
        PERFORM jtd.save_sent_ids(
            array_agg(jtd.message_key(n.channel_code, n.provider_code, n.provider_message_id)), array_agg(n.id))
        FROM new_rows AS n WHERE n.provider_message_id IS NOT NULL;
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.sent_inserted() FROM PUBLIC;
