-- The jobs that a person should look at, oldest first.
-- Called by: operators, jtd-worker attention.  Locks: nothing.  None, no rows.
-- p_reason is one of those that jtd.status_v1 counts, e.g. outcome_unknown; NULL asks for all.
CREATE OR REPLACE FUNCTION jtd.attention(p_reason text DEFAULT NULL, p_limit integer DEFAULT 100)
RETURNS TABLE (
    id uuid, since timestamptz, reason text, tenant_id uuid, channel_code text, attempt integer, provider_code text,
    executed_at timestamptz, error_message text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT j.id, a.since, a.reason, a.tenant_id, a.channel_code, j.attempt, j.provider_code::text, j.executed_at,
        j.error_message
    FROM jtd.attention AS a
    JOIN public.n_jtd AS j ON j.id = a.jtd_id
    WHERE p_reason IS NULL OR a.reason = p_reason
    ORDER BY a.since, j.id
    LIMIT p_limit
$$;
REVOKE ALL ON FUNCTION jtd.attention(text, integer) FROM PUBLIC;
