-- Whether older jobs of the tenant await admission, so that a new one must go behind them.
-- Called by: jtd.enqueue_row.  Locks: nothing; the scheduler alone writes jtd.windows.
CREATE OR REPLACE FUNCTION jtd.window_closed(p_tenant uuid, p_channel text, p_lane text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM jtd.windows AS w
        WHERE w.channel_code = p_channel AND w.lane = p_lane AND w.tenant_id = p_tenant
    )
$$;
REVOKE ALL ON FUNCTION jtd.window_closed(uuid, text, text) FROM PUBLIC;
