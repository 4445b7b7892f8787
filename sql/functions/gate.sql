-- Says of each job whether it may be sent now: send, block, defer or expire, with the reason.
-- Called by: jtd.claim_v1, jtd.pass_gate (claim and admission), jtd.explain.  Locks: nothing.
-- A job that is not there gives no row. Plain SQL without SET, so that the planner can inline it.
CREATE OR REPLACE FUNCTION jtd.gate(p_ids uuid[])
RETURNS TABLE (id uuid, verdict text, reason text, until timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT
        j.id,
        CASE
            WHEN g.reason IS NULL OR g.reason = 'test_mode' THEN 'send'
            WHEN g.reason = 'expired' THEN 'expire'
            WHEN g.reason = 'channel_paused' THEN 'defer'
            ELSE 'block'
        END,
        g.reason,
        NULL::timestamptz
    FROM public.n_jtd AS j
    LEFT JOIN public.n_jtd_event_types AS e ON e.code = j.event_type_code
    LEFT JOIN public.n_jtd_channels AS c ON c.code = j.channel_code
    LEFT JOIN public.n_jtd_source_types AS s ON s.code = j.source_type_code
    LEFT JOIN public.n_jtd_tenant_config AS t
        ON t.tenant_id = j.tenant_id AND t.is_live = j.is_live AND t.is_active
    LEFT JOIN public.n_jtd_tenant_source_config AS ts
        ON ts.tenant_id = j.tenant_id AND ts.source_type_code = j.source_type_code
        AND ts.is_live = j.is_live AND ts.is_active
    CROSS JOIN LATERAL (SELECT CASE
        WHEN j.expires_at <= now() THEN 'expired'
        WHEN c.code IS NULL OR NOT c.is_active THEN 'blocked_channel_inactive'
        WHEN e.code IS NULL OR j.channel_code <> ALL (e.allowed_channels) THEN 'blocked_channel_not_allowed'
        WHEN c.is_paused THEN 'channel_paused'
        WHEN s.bypasses_gates THEN CASE WHEN NOT j.is_live THEN 'test_mode' END
        WHEN ts.is_enabled IS FALSE THEN 'blocked_source_disabled'
        WHEN t.id IS NOT NULL AND coalesce(t.channels_enabled -> j.channel_code, 'false') <> 'true'
            THEN 'blocked_channel_disabled'
        WHEN NOT j.is_live THEN 'test_mode'
    END AS reason) AS g
    WHERE j.id = ANY (p_ids)
$$;
REVOKE ALL ON FUNCTION jtd.gate(uuid[]) FROM PUBLIC;
