-- As jtd.templates_v2, without what providers know the templates by.
-- Called by: workers of the release before this one.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.templates_v1(p_ids uuid[], p_versions integer[])
RETURNS TABLE (
    id uuid, version integer, template_key text, channel_code text, locale text,
    subject text, content text, content_html text, variables jsonb, layouts jsonb)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT v.id, v.version, v.template_key, v.channel_code, v.locale,
        v.subject, v.content, v.content_html, v.variables, v.layouts
    FROM jtd.templates_v2(p_ids, p_versions) AS v
$$;
REVOKE ALL ON FUNCTION jtd.templates_v1(uuid[], integer[]) FROM PUBLIC;
