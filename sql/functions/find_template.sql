-- The one template that a job is rendered from; no row when there is none.
-- Called by: jtd.claim_v1.  Locks: nothing.
-- By id, else by key, else by source type and channel; the tenant's own before the system's, exact is_live
-- before any, exact locale before none, highest version, and the id last, so that the order is total.
-- Each branch begins with the tenant, as its index does: what other tenants keep costs nothing.
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
        (SELECT c.id, c.version
        FROM (
            SELECT t.*
            FROM public.n_jtd_templates AS t
            WHERE p_id IS NULL AND p_key IS NOT NULL
                AND t.tenant_id = p_tenant AND t.template_key = p_key AND t.channel_code = p_channel
            UNION ALL
            SELECT t.*
            FROM public.n_jtd_templates AS t
            WHERE p_id IS NULL AND p_key IS NOT NULL
                AND t.tenant_id IS NULL AND t.template_key = p_key AND t.channel_code = p_channel
            UNION ALL
            SELECT t.*
            FROM public.n_jtd_templates AS t
            WHERE p_id IS NULL AND p_key IS NULL
                AND t.tenant_id = p_tenant AND t.source_type_code = p_source AND t.channel_code = p_channel
            UNION ALL
            SELECT t.*
            FROM public.n_jtd_templates AS t
            WHERE p_id IS NULL AND p_key IS NULL
                AND t.tenant_id IS NULL AND t.source_type_code = p_source AND t.channel_code = p_channel
        ) AS c
        WHERE c.is_active AND (c.is_live IS NULL OR c.is_live = p_is_live)
            AND (c.locale IS NULL OR c.locale = p_locale)
        ORDER BY c.tenant_id NULLS LAST, c.is_live NULLS LAST, c.locale NULLS LAST, c.version DESC, c.id
        LIMIT 1)
    ) AS f
    LIMIT 1
$$;
REVOKE ALL ON FUNCTION jtd.find_template(uuid, integer, text, uuid, text, text, boolean, text) FROM PUBLIC;
