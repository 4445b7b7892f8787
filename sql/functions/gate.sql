-- Says of each job whether it may be sent at a moment: send, block, defer or expire, with the reason.
-- Called by: jtd.judge (claim and admission), jtd.explain.  Locks: nothing.
-- until: when a deferral ends; NULL where a person ends it. A job that is not there gives no row.
-- Plain SQL without SET, so that the planner can inline it; OFFSET 0 keeps it from working a reason out once for each use.
CREATE OR REPLACE FUNCTION jtd.gate(p_ids uuid[], p_at timestamptz DEFAULT now())
RETURNS TABLE (id uuid, verdict text, reason text, until timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT
        j.id,
        CASE
            WHEN g.reason IS NULL OR g.reason = 'test_mode' THEN 'send'
            WHEN g.reason = 'expired' THEN 'expire'
            WHEN g.reason LIKE 'blocked\_%' THEN 'block'
            ELSE 'defer'
        END,
        g.reason,
        CASE
            WHEN g.reason = 'quiet_hours' THEN quiet.until
                + jtd.spread(j.id, (t.quiet_hours_start - t.quiet_hours_end + CASE
                    WHEN t.quiet_hours_start < t.quiet_hours_end THEN '24 h' ELSE '0' END::interval) / 2)
            WHEN g.reason = used_up.reason THEN used_up.until
        END
    FROM public.n_jtd AS j
    LEFT JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code
    LEFT JOIN public.n_jtd_channels AS c ON c.code = j.channel_code
    LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
    LEFT JOIN public.n_jtd_tenant_config AS t
        ON t.tenant_id = j.tenant_id AND t.is_live = j.is_live AND t.is_active
    LEFT JOIN public.n_jtd_tenant_source_config AS ts
        ON ts.tenant_id = j.tenant_id AND ts.source_type_code = j.source_type_code
        AND ts.is_live = j.is_live AND ts.is_active
    LEFT JOIN jtd.pauses AS tenant_pause ON tenant_pause.scope = 'tenant' AND tenant_pause.code = j.tenant_id::text
    LEFT JOIN jtd.pauses AS source_pause ON source_pause.scope = 'source_type' AND source_pause.code = j.source_type_code
    LEFT JOIN LATERAL (
        SELECT jtd.suppression(j.tenant_id, ARRAY[jtd.canonical(j.recipient_contact), j.recipient_id::text,
            jtd.canonical(jtd.recipient(c.recipient_key, j.recipient_contact, j.recipient_id, j.payload))],
            j.channel_code, j.source_type_code) AS kind
        WHERE EXISTS (SELECT FROM public.n_jtd_suppressions AS p WHERE p.tenant_id = j.tenant_id)
        OFFSET 0) AS suppressed ON true
    LEFT JOIN LATERAL (
        SELECT jtd.quiet_until(p_at, t.timezone, t.quiet_hours_start, t.quiet_hours_end) AS until
        WHERE t.quiet_hours_start IS NOT NULL AND NOT (
            'urgent' = ANY (t.quiet_hours_exempt) AND jtd.lane(j.priority, s.is_urgent) = 'urgent'
            OR 'identity' = ANY (t.quiet_hours_exempt) AND coalesce(s.bypasses_gates, false))
        OFFSET 0) AS quiet ON true
    LEFT JOIN LATERAL (  -- a job that a worker has taken before was counted then
        SELECT h.reason, h.until FROM jtd.holds AS h
        WHERE h.tenant_id = j.tenant_id AND h.is_live = j.is_live AND h.channel_code IN ('', j.channel_code)
            AND h.reason <> 'admitted' AND h.until > p_at AND h.limits = jtd.limits_of(t)
            AND (j.attempt = 0 OR h.reason = 'tenant_rate') AND NOT coalesce(s.bypasses_gates, false)
        ORDER BY h.until DESC, h.reason LIMIT 1) AS used_up ON true
    CROSS JOIN LATERAL (SELECT CASE
        WHEN j.expires_at <= p_at THEN 'expired'
        WHEN c.code IS NULL OR NOT c.is_active THEN 'blocked_channel_inactive'
        WHEN e.code IS NULL OR j.channel_code <> ALL (e.allowed_channels) THEN 'blocked_channel_not_allowed'
        WHEN NOT e.is_active THEN 'blocked_event_type_inactive'
        WHEN NOT s.is_active THEN 'blocked_source_inactive'
        WHEN c.is_paused THEN 'channel_paused'
        WHEN tenant_pause.code IS NOT NULL THEN 'tenant_paused'
        WHEN source_pause.code IS NOT NULL THEN 'source_paused'
        WHEN suppressed.kind IN ('bounce', 'complaint') THEN 'blocked_suppressed'
        WHEN s.bypasses_gates THEN NULL
        WHEN ts.is_enabled IS FALSE THEN 'blocked_source_disabled'
        WHEN j.channel_code <> ALL (ts.channels_enabled) THEN 'blocked_channel_disabled'
        WHEN t.id IS NOT NULL AND coalesce(t.channels_enabled -> j.channel_code, 'false') <> 'true'
            THEN 'blocked_channel_disabled'
        WHEN suppressed.kind IS NOT NULL THEN 'blocked_suppressed'
    END AS reason OFFSET 0) AS stop
    CROSS JOIN LATERAL (SELECT CASE
        WHEN stop.reason IS NOT NULL THEN stop.reason
        WHEN quiet.until IS NOT NULL THEN 'quiet_hours'
        WHEN used_up.reason IS NOT NULL AND t.limit_action = 'block' AND used_up.reason <> 'tenant_rate'
            THEN 'blocked_' || used_up.reason
        WHEN used_up.reason IS NOT NULL THEN used_up.reason
        WHEN NOT j.is_live AND NOT coalesce((
            SELECT r.recipient = ANY (t.test_recipients) OR '@' || split_part(r.recipient, '@', 2) = ANY (t.test_recipients)
            FROM (SELECT jtd.canonical(jtd.recipient(
                c.recipient_key, j.recipient_contact, j.recipient_id, j.payload)) AS recipient
                WHERE t.test_recipients <> '{}') AS r), false)
            THEN 'test_mode'
    END AS reason OFFSET 0) AS g
    WHERE j.id = ANY (p_ids)
$$;
REVOKE ALL ON FUNCTION jtd.gate(uuid[], timestamptz) FROM PUBLIC;
