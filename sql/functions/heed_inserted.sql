-- Lists inserted jobs that a person should look at: those that failed at once.
-- Called by: AFTER INSERT statement trigger on public.n_jtd.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.heed_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO jtd.attention (jtd_id, tenant_id, channel_code, reason)
    SELECT n.id, n.tenant_id, n.channel_code, jtd.heed(n.status_code, n.error_code, n.completed_at)
    FROM new_rows AS n
    WHERE n.status_changed_at = now() AND jtd.heed(n.status_code, n.error_code, n.completed_at) IS NOT NULL;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.heed_inserted() FROM PUBLIC;
