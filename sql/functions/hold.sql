-- Enters that a tenant has used up a limit, so that the gate and admission need not count.
-- Called by: jtd.take_allowance, jtd.take_tenant_rate, jtd.admit_queue.  Locks: the row, if an old one is there.
-- p_channel: empty for all. One that stands already is left as it is.
CREATE OR REPLACE FUNCTION jtd.hold(
    p_tenant uuid, p_is_live boolean, p_channel text, p_reason text, p_until timestamptz) RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO jtd.holds AS h (tenant_id, is_live, channel_code, reason, until, limits)
    SELECT p_tenant, p_is_live, p_channel, p_reason, p_until, jtd.limits_of(t)
    FROM public.n_jtd_tenant_config AS t
    WHERE t.tenant_id = p_tenant AND t.is_live = p_is_live AND t.is_active AND NOT EXISTS (
        SELECT FROM jtd.holds AS o WHERE o.tenant_id = p_tenant AND o.is_live = p_is_live
            AND o.channel_code = p_channel AND o.reason = p_reason AND o.until > now() AND o.limits = jtd.limits_of(t))
    ON CONFLICT (tenant_id, is_live, channel_code, reason) DO UPDATE SET until = excluded.until, limits = excluded.limits
$$;
REVOKE ALL ON FUNCTION jtd.hold(uuid, boolean, text, text, timestamptz) FROM PUBLIC;
