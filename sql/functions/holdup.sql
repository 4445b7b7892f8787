-- What keeps a tenant's live jobs of a channel from being admitted: all of them, all but exempt ones, or NULL: nothing.
-- Called by: jtd.admit_queue.  Locks: nothing.
-- A pause stops everything; a limit that is used up stops what counts, unless the tenant has it cancelled instead.
CREATE OR REPLACE FUNCTION jtd.holdup(p_tenant uuid, p_channel text) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE
        WHEN EXISTS (SELECT FROM jtd.pauses AS p WHERE p.scope = 'tenant' AND p.code = p_tenant::text) THEN 'all'
        WHEN EXISTS (
            SELECT FROM jtd.holds AS h
            LEFT JOIN public.n_jtd_tenant_config AS t ON t.tenant_id = h.tenant_id AND t.is_live AND t.is_active
            WHERE h.tenant_id = p_tenant AND h.is_live AND h.channel_code IN ('', p_channel) AND h.until > now()
                AND (h.reason = 'tenant_rate' OR t.limit_action IS DISTINCT FROM 'block'))
            THEN 'all but exempt'
    END
$$;
REVOKE ALL ON FUNCTION jtd.holdup(uuid, text) FROM PUBLIC;
