-- Notes whether a recipient wants messages of a tenant: of one source type or all (NULL), on one channel or all (NULL).
-- Called by: services and operators.  Locks: his rows of n_jtd_suppressions.
-- The closest preference counts: one for a source type before one for a channel before one for everything. A preference
-- lifts no bounce and no complaint, and holds back no identity message. Raises JT002, JT003 or JT044
-- for what is not there.
CREATE OR REPLACE FUNCTION jtd.set_preference(
    p_tenant uuid, p_recipient text, p_source_type text, p_channel text, p_allowed boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted CONSTANT text := CASE WHEN p_allowed THEN 'opt_in' ELSE 'opt_out' END;
BEGIN
    IF p_source_type IS NOT NULL
        AND NOT EXISTS (SELECT FROM public.n_jtd_source_types AS s WHERE s.code = p_source_type)
    THEN
        PERFORM jtd.refuse('JT003', 'source type', p_source_type, ARRAY(
            SELECT s.code FROM public.n_jtd_source_types AS s WHERE s.is_active ORDER BY s.code));
    END IF;
    IF p_channel IS NOT NULL AND NOT EXISTS (SELECT FROM public.n_jtd_channels AS c WHERE c.code = p_channel) THEN
        PERFORM jtd.refuse('JT002', 'channel', p_channel, ARRAY(
            SELECT c.code FROM public.n_jtd_channels AS c WHERE c.is_active ORDER BY c.display_order, c.code));
    END IF;
    IF jtd.canonical(p_recipient) IS NULL OR p_tenant IS NULL OR p_allowed IS NULL THEN
        RAISE EXCEPTION 'a preference needs a tenant, a recipient, and true or false'
            USING ERRCODE = 'JT044', HINT = 'Source type and channel may be NULL, which is all of them.';
    END IF;
    DELETE FROM public.n_jtd_suppressions AS s
    WHERE s.tenant_id = p_tenant AND s.recipient = jtd.canonical(p_recipient) AND s.kind IN ('opt_in', 'opt_out')
        AND s.kind <> wanted AND s.channel_code IS NOT DISTINCT FROM p_channel
        AND s.source_type_code IS NOT DISTINCT FROM p_source_type;
    INSERT INTO public.n_jtd_suppressions (tenant_id, recipient, channel_code, source_type_code, kind)
    VALUES (p_tenant, p_recipient, p_channel, p_source_type, wanted)
    ON CONFLICT ON CONSTRAINT n_jtd_suppressions_key DO NOTHING;
END
$$;
REVOKE ALL ON FUNCTION jtd.set_preference(uuid, text, text, text, boolean) FROM PUBLIC;
