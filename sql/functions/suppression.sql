-- Why messages of a tenant do not go to a recipient: bounce, complaint or opt_out; NULL when they may.
-- Called by: jtd.gate.  Locks: nothing.
-- A recipient is looked for under each of his addresses, which are in one form, and under his id. Of opt_out and opt_in the closest wins: that of the source
-- type before that of the channel before that of everything.
CREATE OR REPLACE FUNCTION jtd.suppression(
    p_tenant uuid, p_recipients text[], p_channel text, p_source text) RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT nullif(s.kind, 'opt_in')
    FROM public.n_jtd_suppressions AS s
    WHERE s.tenant_id = p_tenant AND s.recipient = ANY (p_recipients)
        AND (s.channel_code IS NULL OR s.channel_code = p_channel)
        AND (s.source_type_code IS NULL OR s.source_type_code = p_source)
    ORDER BY s.kind IN ('bounce', 'complaint') DESC, s.source_type_code IS NULL, s.channel_code IS NULL, s.kind DESC
    LIMIT 1
$$;
REVOKE ALL ON FUNCTION jtd.suppression(uuid, text[], text, text) FROM PUBLIC;
