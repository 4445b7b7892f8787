-- What would become of a message that does not exist yet, at a moment ahead: why it would not go then, and until when.
-- Called by: jtd.vani_plan.  Locks: nothing.  No reason: it goes.  until NULL: a person has to act, or it never goes.
-- The same order and the same sources as jtd.gate, which decides when the time has come; a test holds them against each
-- other.
CREATE OR REPLACE FUNCTION jtd.foresee(
    p_tenant uuid, p_is_live boolean, p_event text, p_source text, p_channel text, p_recipient text, p_recipient_id uuid,
    p_at timestamptz)
RETURNS TABLE (reason text, until timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT g.reason, CASE g.reason WHEN 'quiet_hours' THEN quiet.until WHEN used_up.reason THEN used_up.until END
    FROM (SELECT) AS one
    LEFT JOIN public.n_jtd_event_types AS e ON e.code = p_event
    LEFT JOIN public.n_jtd_channels AS c ON c.code = p_channel
    LEFT JOIN public.n_jtd_source_types AS s ON s.code = p_source
    LEFT JOIN public.n_jtd_tenant_config AS t ON t.tenant_id = p_tenant AND t.is_live = p_is_live AND t.is_active
    LEFT JOIN public.n_jtd_tenant_source_config AS ts
        ON ts.tenant_id = p_tenant AND ts.source_type_code = p_source AND ts.is_live = p_is_live AND ts.is_active
    LEFT JOIN jtd.pauses AS tenant_pause ON tenant_pause.scope = 'tenant' AND tenant_pause.code = p_tenant::text
    LEFT JOIN jtd.pauses AS source_pause ON source_pause.scope = 'source_type' AND source_pause.code = p_source
    LEFT JOIN LATERAL (
        SELECT jtd.suppression(
            p_tenant, ARRAY[jtd.canonical(p_recipient), p_recipient_id::text], p_channel, p_source) AS kind
        WHERE EXISTS (SELECT FROM public.n_jtd_suppressions AS p WHERE p.tenant_id = p_tenant)) AS suppressed ON true
    LEFT JOIN LATERAL (
        SELECT jtd.quiet_until(p_at, t.timezone, t.quiet_hours_start, t.quiet_hours_end) AS until
        WHERE t.quiet_hours_start IS NOT NULL AND NOT (
            'urgent' = ANY (t.quiet_hours_exempt) AND jtd.lane(
                coalesce(ts.priority_override, nullif(t.default_priority, 5), e.default_priority), s.is_urgent) = 'urgent'
            OR 'identity' = ANY (t.quiet_hours_exempt) AND coalesce(s.bypasses_gates, false))) AS quiet ON true
    LEFT JOIN LATERAL (
        SELECT h.reason, h.until FROM jtd.holds AS h
        WHERE h.tenant_id = p_tenant AND h.is_live = p_is_live AND h.channel_code IN ('', p_channel)
            AND h.reason <> 'admitted' AND h.until > p_at AND h.limits = jtd.limits_of(t)
            AND NOT coalesce(s.bypasses_gates, false)
        ORDER BY h.until DESC, h.reason LIMIT 1) AS used_up ON true
    CROSS JOIN LATERAL (SELECT CASE
        WHEN p_channel IS NULL THEN 'no_channel'
        WHEN p_recipient IS NULL THEN 'no_address'
        WHEN c.code IS NULL OR NOT c.is_active THEN 'blocked_channel_inactive'
        WHEN e.code IS NULL OR p_channel <> ALL (e.allowed_channels) THEN 'blocked_channel_not_allowed'
        WHEN NOT e.is_active THEN 'blocked_event_type_inactive'
        WHEN NOT s.is_active THEN 'blocked_source_inactive'
        WHEN c.is_paused THEN 'channel_paused'
        WHEN tenant_pause.code IS NOT NULL THEN 'tenant_paused'
        WHEN source_pause.code IS NOT NULL THEN 'source_paused'
        WHEN suppressed.kind IN ('bounce', 'complaint') THEN 'blocked_suppressed'
        WHEN s.bypasses_gates THEN NULL
        WHEN ts.is_enabled IS FALSE THEN 'blocked_source_disabled'
        WHEN p_channel <> ALL (ts.channels_enabled) THEN 'blocked_channel_disabled'
        WHEN t.id IS NOT NULL AND coalesce(t.channels_enabled -> p_channel, 'false') <> 'true'
            THEN 'blocked_channel_disabled'
        WHEN suppressed.kind IS NOT NULL THEN 'blocked_suppressed'
        WHEN quiet.until IS NOT NULL THEN 'quiet_hours'
        WHEN used_up.reason IS NOT NULL AND t.limit_action = 'block' AND used_up.reason <> 'tenant_rate'
            THEN 'blocked_' || used_up.reason
        ELSE used_up.reason
    END AS reason) AS g
$$;
REVOKE ALL ON FUNCTION jtd.foresee(uuid, boolean, text, text, text, text, uuid, timestamptz) FROM PUBLIC;
