-- Lets VaNi look at the work that waits for its first step, of tenants for whom she was switched on.
-- Called by: jtd.vani_tick.  Locks: rows of jtd.work and jtd.vani_switches, SKIP LOCKED.  At most p_limit a call.
CREATE OR REPLACE FUNCTION jtd.vani_switched(p_limit integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tenant record;
    looked integer;
BEGIN
    FOR tenant IN SELECT s.ctid, s.* FROM jtd.vani_switches AS s LIMIT 10 FOR UPDATE SKIP LOCKED LOOP
        UPDATE jtd.work AS w SET next_at = now()
        WHERE w.jtd_id = ANY (ARRAY(
            SELECT x.jtd_id FROM jtd.work AS x
            WHERE x.tenant_id = tenant.tenant_id AND x.is_live = tenant.is_live
                AND x.status_code IN ('created', 'rescheduled') AND x.looked_at < tenant.at
                AND (x.next_at > now() OR x.next_at IS NULL)
            LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED));
        GET DIAGNOSTICS looked = ROW_COUNT;
        IF looked < p_limit THEN
            DELETE FROM jtd.vani_switches AS s WHERE s.ctid = tenant.ctid;
        END IF;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_switched(integer) FROM PUBLIC;
