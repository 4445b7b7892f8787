-- The one template that a job is rendered from; no row when there is none.
-- Called by: jtd.claim_v1.  Locks: nothing.
-- By id, else by key, else by source type and channel; the tenant's own before the system's, exact is_live
-- before any, exact locale before none, highest version, and the id last, so that the order is total.
CREATE OR REPLACE FUNCTION jtd.find_template(
    p_id uuid, p_version integer, p_key text, p_tenant uuid, p_source text, p_channel text,
    p_is_live boolean, p_locale text)
RETURNS TABLE (id uuid, version integer)
LANGUAGE sql STABLE
AS $$
    SELECT f.id, f.version
    FROM (
        SELECT t.id, coalesce(p_version, t.version) AS version
        FROM public.n_jtd_templates AS t
        WHERE p_id IS NOT NULL AND t.id = p_id AND (t.tenant_id IS NULL OR t.tenant_id = p_tenant)
            AND (t.is_active OR p_version IS NOT NULL)  -- a retry renders what its first attempt rendered
        UNION ALL
        (SELECT t.id, t.version
        FROM public.n_jtd_templates AS t
        WHERE p_id IS NULL
            AND (t.template_key = p_key OR (p_key IS NULL AND t.source_type_code = p_source))
            AND t.channel_code = p_channel
            AND t.is_active
            AND (t.tenant_id IS NULL OR t.tenant_id = p_tenant)
            AND (t.is_live IS NULL OR t.is_live = p_is_live)
            AND (t.locale IS NULL OR t.locale = p_locale)
        ORDER BY t.tenant_id NULLS LAST, t.is_live NULLS LAST, t.locale NULLS LAST, t.version DESC, t.id
        LIMIT 1)
    ) AS f
    LIMIT 1
$$;
REVOKE ALL ON FUNCTION jtd.find_template(uuid, integer, text, uuid, text, text, boolean, text) FROM PUBLIC;
