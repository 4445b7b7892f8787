-- Lets VaNi look again at the work that waits for its first step, or lies ahead, of tenants whose settings changed.
-- Called by: jtd.vani_tick.  Locks: rows of jtd.work and jtd.vani_switches, SKIP LOCKED.  At most p_limit of each tenant a call.
-- What she had looked at when a tick first saw the change: the change may have been committed long after it was made.
CREATE OR REPLACE FUNCTION jtd.vani_switched(p_limit integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tenant record;
    looked integer;
BEGIN
    UPDATE jtd.vani_switches AS s SET at = now() WHERE s.at IS NULL;
    FOR tenant IN SELECT s.ctid, s.* FROM jtd.vani_switches AS s WHERE s.at IS NOT NULL LIMIT 10 FOR UPDATE SKIP LOCKED LOOP
        UPDATE jtd.work AS w SET next_at = now()
        WHERE w.jtd_id = ANY (ARRAY(
            SELECT x.jtd_id FROM jtd.work AS x
            WHERE x.tenant_id = tenant.tenant_id AND x.is_live = tenant.is_live
                AND (x.status_code IN ('created', 'rescheduled') OR (x.category = 'scheduling' AND x.at > now()))
                AND x.looked_at < tenant.at AND (x.next_at > now() OR x.next_at IS NULL)
            LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED));
        GET DIAGNOSTICS looked = ROW_COUNT;
        IF looked < p_limit THEN
            DELETE FROM jtd.vani_switches AS s WHERE s.ctid = tenant.ctid;
        END IF;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.vani_switched(integer) FROM PUBLIC;
