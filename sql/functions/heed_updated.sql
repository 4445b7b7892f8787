-- Keeps the list of jobs that a person should look at in step with their changes.
-- Called by: AFTER UPDATE statement trigger on public.n_jtd.  Locks: list rows of jobs that the statement holds.
-- Nested loops are off: a session keeps the plan of its first statement, and one made for a single row would
-- compare each old row with each new one for ever after.
CREATE OR REPLACE FUNCTION jtd.heed_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
AS $$
DECLARE
    changed uuid[] := ARRAY(
        SELECT n.id
        FROM new_rows AS n
        JOIN old_rows AS o ON o.id = n.id
        WHERE jtd.heed(n.status_code, n.error_code, n.completed_at)
            IS DISTINCT FROM jtd.heed(o.status_code, o.error_code, o.completed_at));
BEGIN
    IF changed <> '{}' THEN
        DELETE FROM jtd.attention AS a WHERE a.jtd_id = ANY (changed);
        INSERT INTO jtd.attention (jtd_id, tenant_id, channel_code, reason)
        SELECT n.id, n.tenant_id, n.channel_code, jtd.heed(n.status_code, n.error_code, n.completed_at)
        FROM new_rows AS n
        WHERE n.id = ANY (changed) AND jtd.heed(n.status_code, n.error_code, n.completed_at) IS NOT NULL;
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.heed_updated() FROM PUBLIC;
