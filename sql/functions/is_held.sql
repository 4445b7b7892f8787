-- Whether a limit that is used up keeps a tenant's live jobs of a channel from being admitted, but for exempt ones.
-- Called by: jtd.ready_tenants, jtd.take_turns.  Locks: nothing.
-- Not so where the tenant has what is over it cancelled: then it must come as far as the gate.
CREATE OR REPLACE FUNCTION jtd.is_held(p_tenant uuid, p_channel text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM jtd.holds AS h
        JOIN public.n_jtd_tenant_config AS t ON t.tenant_id = h.tenant_id AND t.is_live AND t.is_active
        WHERE h.tenant_id = p_tenant AND h.is_live AND h.channel_code IN ('', p_channel) AND h.until > now()
            AND (h.reason IN ('tenant_rate', 'admitted') OR t.limit_action <> 'block')
            AND h.limits = jtd.limits_of(t))
$$;
REVOKE ALL ON FUNCTION jtd.is_held(uuid, text) FROM PUBLIC;
