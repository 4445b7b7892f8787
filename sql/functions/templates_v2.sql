-- Templates at the versions asked for: their texts, the layouts that they may extend, and what providers know them by.
-- Called by: the worker, for what its cache does not hold.  Locks: nothing.
-- A former version comes from n_jtd_template_versions; one that is nowhere gives no row.
CREATE OR REPLACE FUNCTION jtd.templates_v2(p_ids uuid[], p_versions integer[])
RETURNS TABLE (
    id uuid, version integer, template_key text, channel_code text, locale text,
    subject text, content text, content_html text, variables jsonb, layouts jsonb,
    provider_template_id text, parameter_format text, language text, dlt_entity_id text, dlt_template_id text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.id, a.version, t.template_key::text, t.channel_code::text, x.locale,
        x.subject, x.content, x.content_html, x.variables, x.layouts,
        x.provider_template_id, x.parameter_format, x.language, x.dlt_entity_id, x.dlt_template_id
    FROM unnest(p_ids, p_versions) AS a (id, version)
    JOIN public.n_jtd_templates AS t ON t.id = a.id
    CROSS JOIN LATERAL (
        SELECT t.subject, t.content, t.content_html, t.variables, t.locale::text AS locale,
            t.provider_template_id::text AS provider_template_id, t.parameter_format::text AS parameter_format,
            t.language::text AS language, t.dlt_entity_id::text AS dlt_entity_id,
            t.dlt_template_id::text AS dlt_template_id,
            jtd.layouts(t.tenant_id, t.channel_code, t.locale) AS layouts
        WHERE t.version = a.version
        UNION ALL
        SELECT v.subject, v.content, v.content_html, v.variables, v.locale,
            v.provider_template_id, v.parameter_format, v.language, v.dlt_entity_id, v.dlt_template_id, v.layouts
        FROM public.n_jtd_template_versions AS v WHERE v.template_id = a.id AND v.version = a.version
        LIMIT 1
    ) AS x
$$;
REVOKE ALL ON FUNCTION jtd.templates_v2(uuid[], integer[]) FROM PUBLIC;
