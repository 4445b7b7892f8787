-- Writes into the settings of tenants what they have used of their limits, and drops holds that are over.
-- Called by: jtd.tick_v1, by one worker at a time, as its last act: claims wait for what it locks.  Locks: rows of jtd.usage and of the settings, SKIP LOCKED.
CREATE OR REPLACE FUNCTION jtd.show_usage(p_limit integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    WITH counted AS MATERIALIZED (
        SELECT u.* FROM jtd.usage AS u WHERE NOT u.is_shown
        ORDER BY u.tenant_id, u.is_live, u.period, u.begins LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED
    ), settings AS MATERIALIZED (
        SELECT t.id, t.tenant_id, t.is_live FROM public.n_jtd_tenant_config AS t
        WHERE (t.tenant_id, t.is_live) IN (SELECT c.tenant_id, c.is_live FROM counted AS c)
        ORDER BY t.id FOR NO KEY UPDATE SKIP LOCKED
    ), newest AS (
        SELECT s.id, max(c.begins) FILTER (WHERE c.period = 'day') AS day,
            (array_agg(c.used ORDER BY c.begins DESC) FILTER (WHERE c.period = 'day'))[1] AS daily_used,
            (array_agg(c.used ORDER BY c.begins DESC) FILTER (WHERE c.period = 'month'))[1] AS monthly_used
        FROM counted AS c JOIN settings AS s ON s.tenant_id = c.tenant_id AND s.is_live = c.is_live
        GROUP BY s.id
    ), shown AS (
        UPDATE public.n_jtd_tenant_config AS t
        SET daily_used = coalesce(n.daily_used, t.daily_used), monthly_used = coalesce(n.monthly_used, t.monthly_used),
            last_reset_date = coalesce(n.day, t.last_reset_date)
        FROM newest AS n
        WHERE t.id = n.id
    )
    UPDATE jtd.usage AS u SET is_shown = true
    FROM counted AS c
    WHERE u.tenant_id = c.tenant_id AND u.is_live = c.is_live AND u.period = c.period AND u.begins = c.begins
        AND (EXISTS (SELECT FROM settings AS s WHERE s.tenant_id = c.tenant_id AND s.is_live = c.is_live)
            OR NOT EXISTS (SELECT FROM public.n_jtd_tenant_config AS t
                WHERE t.tenant_id = c.tenant_id AND t.is_live = c.is_live));
    DELETE FROM jtd.holds AS h WHERE h.ctid = ANY (ARRAY(
        SELECT x.ctid FROM jtd.holds AS x WHERE x.until <= now() LIMIT p_limit FOR UPDATE SKIP LOCKED));
END
$$;
REVOKE ALL ON FUNCTION jtd.show_usage(integer) FROM PUBLIC;
