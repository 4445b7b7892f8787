-- Takes up to p_wanted messages of a tenant's rate limit on a channel, and returns how many there were.
-- Called by: jtd.take_allowance.  Locks: his row of jtd.tenant_rates, until the claim ends.
-- What is left then counts like the limit of a credential: in any minute at most p_per_minute. At the limit the tenant is
-- entered in jtd.holds.
CREATE OR REPLACE FUNCTION jtd.take_tenant_rate(
    p_tenant uuid, p_is_live boolean, p_channel text, p_per_minute integer, p_wanted integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seen jtd.tenant_rates;
    this_second bigint;
    took integer;
BEGIN
    INSERT INTO jtd.tenant_rates (tenant_id, is_live, channel_code) VALUES (p_tenant, p_is_live, p_channel)
    ON CONFLICT DO NOTHING;
    SELECT * INTO seen FROM jtd.tenant_rates AS r
    WHERE r.tenant_id = p_tenant AND r.is_live = p_is_live AND r.channel_code = p_channel FOR NO KEY UPDATE;
    this_second := floor(extract(epoch FROM clock_timestamp()));  -- only now: others may have had the row for a while
    SELECT least(p_wanted, m.free) INTO took
    FROM jtd.rate_room(seen.seconds, seen.counts, p_per_minute, 'urgent', this_second) AS m;
    SELECT array_agg(t.second ORDER BY t.second), array_agg(t.count ORDER BY t.second)
    INTO seen.seconds, seen.counts
    FROM jtd.rate_taken(seen.seconds || this_second, seen.counts || took, this_second) AS t;
    UPDATE jtd.tenant_rates AS r SET seconds = coalesce(seen.seconds, '{}'), counts = coalesce(seen.counts, '{}')
    WHERE r.tenant_id = p_tenant AND r.is_live = p_is_live AND r.channel_code = p_channel;
    PERFORM jtd.hold(p_tenant, p_is_live, p_channel, 'tenant_rate', to_timestamp(m.free_at))
    FROM jtd.rate_room(seen.seconds, seen.counts, p_per_minute, 'urgent', this_second) AS m
    WHERE m.free_at IS NOT NULL;
    RETURN took;
END
$$;
REVOKE ALL ON FUNCTION jtd.take_tenant_rate(uuid, boolean, text, integer, integer) FROM PUBLIC;
