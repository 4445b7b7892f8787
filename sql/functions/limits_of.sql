-- The limits that a tenant has set, as one text: a hold counts only while they are what they were when it was entered.
-- Called by: jtd.gate, jtd.is_held and the functions that enter holds.  Locks: nothing.  NULL for no settings.
CREATE OR REPLACE FUNCTION jtd.limits_of(p_settings public.n_jtd_tenant_config) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN p_settings.id IS NOT NULL THEN jsonb_build_array(p_settings.daily_limit, p_settings.monthly_limit,
        p_settings.timezone, p_settings.rate_limits)::text END
$$;
REVOKE ALL ON FUNCTION jtd.limits_of(public.n_jtd_tenant_config) FROM PUBLIC;
