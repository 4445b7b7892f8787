-- Counts jobs of one channel against the limits of their tenants, and returns those for which nothing is left.
-- Called by: jtd.claim_v1, before it makes the jobs executing.  Locks: rows of jtd.usage and jtd.tenant_rates in order,
-- until the claim ends: so the limits hold exactly, however many workers claim.
-- A job counts once for the limits of a day and month, when a worker first takes it; for a rate each attempt counts.
-- Identity messages pass and do not count. Who has used up a limit is entered in jtd.holds.
CREATE OR REPLACE FUNCTION jtd.take_allowance(p_ids uuid[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept CONSTANT interval := '400 d';
    tenant record;
    day jtd.usage;
    month jtd.usage;
    room integer;
    wanted uuid[];
    going integer;
    refused uuid[] := '{}';
BEGIN
    FOR tenant IN
        SELECT t.tenant_id, t.is_live, t.timezone, t.daily_limit, t.monthly_limit, j.channel_code,
            jtd.tenant_rate(t.rate_limits, j.channel_code) AS per_minute,
            (now() AT TIME ZONE t.timezone)::date AS today,
            coalesce(array_agg(j.id ORDER BY j.priority DESC, j.id) FILTER (WHERE j.attempt = 0), '{}') AS fresh,
            coalesce(array_agg(j.id ORDER BY j.priority DESC, j.id) FILTER (WHERE j.attempt > 0), '{}') AS again
        FROM public.n_jtd AS j
        JOIN public.n_jtd_tenant_config AS t ON t.tenant_id = j.tenant_id AND t.is_live = j.is_live AND t.is_active
        LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
        WHERE j.id = ANY (p_ids) AND NOT coalesce(s.bypasses_gates, false)
            AND (t.daily_limit IS NOT NULL OR t.monthly_limit IS NOT NULL OR t.rate_limits ? j.channel_code)
        GROUP BY t.id, j.channel_code
        ORDER BY t.tenant_id, t.is_live, j.channel_code
    LOOP
        room := cardinality(tenant.fresh);
        IF room > 0 AND (tenant.daily_limit IS NOT NULL OR tenant.monthly_limit IS NOT NULL) THEN
            INSERT INTO jtd.usage (tenant_id, is_live, period, begins)
            VALUES (tenant.tenant_id, tenant.is_live, 'day', tenant.today),
                (tenant.tenant_id, tenant.is_live, 'month', date_trunc('month', tenant.today)::date)
            ON CONFLICT DO NOTHING;
            IF FOUND THEN
                DELETE FROM jtd.usage AS u
                WHERE u.tenant_id = tenant.tenant_id AND u.is_live = tenant.is_live AND u.begins < tenant.today - kept;
            END IF;
            SELECT * INTO day FROM jtd.usage AS u
            WHERE u.tenant_id = tenant.tenant_id AND u.is_live = tenant.is_live AND u.period = 'day'
                AND u.begins = tenant.today
            FOR NO KEY UPDATE;
            SELECT * INTO month FROM jtd.usage AS u
            WHERE u.tenant_id = tenant.tenant_id AND u.is_live = tenant.is_live AND u.period = 'month'
                AND u.begins = date_trunc('month', tenant.today)::date
            FOR NO KEY UPDATE;
            room := least(room, greatest(0, least(
                tenant.daily_limit::bigint - day.used, tenant.monthly_limit::bigint - month.used)))::integer;
        END IF;
        wanted := tenant.again || tenant.fresh[1:room];
        going := cardinality(wanted);
        IF tenant.per_minute IS NOT NULL AND going > 0 THEN
            going := jtd.take_tenant_rate(
                tenant.tenant_id, tenant.is_live, tenant.channel_code, tenant.per_minute, going);
        END IF;
        refused := refused || wanted[going + 1 :] || tenant.fresh[room + 1 :];
        going := greatest(0, going - cardinality(tenant.again));
        IF cardinality(tenant.fresh) > 0 AND (tenant.daily_limit IS NOT NULL OR tenant.monthly_limit IS NOT NULL) THEN
            UPDATE jtd.usage AS u SET used = u.used + going, is_shown = false
            WHERE u.tenant_id = tenant.tenant_id AND u.is_live = tenant.is_live AND going > 0
                AND (u.period, u.begins) IN (('day', day.begins), ('month', month.begins));
            PERFORM jtd.hold(tenant.tenant_id, tenant.is_live, '', h.reason, h.begins::timestamp AT TIME ZONE tenant.timezone)
            FROM (VALUES
                ('daily_limit', tenant.daily_limit <= day.used + going, day.begins + interval '1 d'),
                ('monthly_limit', tenant.monthly_limit <= month.used + going, month.begins + interval '1 month')
            ) AS h (reason, is_reached, begins)
            WHERE h.is_reached;
        END IF;
    END LOOP;
    RETURN refused;
END
$$;
REVOKE ALL ON FUNCTION jtd.take_allowance(uuid[]) FROM PUBLIC;
