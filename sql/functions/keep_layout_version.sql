-- A layout that comes, changes or goes is a new version of every template that may extend it.
-- Called by: the triggers of n_jtd_templates, after each such row.  Locks: those templates, the highest version first, so
-- that the next number is free when its turn comes.
CREATE OR REPLACE FUNCTION jtd.keep_layout_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    layout public.n_jtd_templates := CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END;
    template public.n_jtd_templates;
BEGIN
    layout.is_active := layout.is_active AND TG_OP <> 'INSERT';
    FOR template IN
        SELECT *
        FROM public.n_jtd_templates AS t
        WHERE t.channel_code = layout.channel_code AND t.id <> layout.id
            AND (layout.tenant_id IS NULL OR t.tenant_id = layout.tenant_id)
            AND (TG_OP <> 'INSERT' OR t.created_at < now())  -- nothing was rendered from what came with it
            AND concat(t.content, t.content_html) LIKE '%layout\_%'
        ORDER BY t.version DESC
    LOOP
        PERFORM jtd.keep_version(
            template, jtd.layouts(template.tenant_id, template.channel_code, template.locale, layout));
        UPDATE public.n_jtd_templates AS t SET version = t.version + 1 WHERE t.id = template.id;
    END LOOP;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION jtd.keep_layout_version() FROM PUBLIC;
