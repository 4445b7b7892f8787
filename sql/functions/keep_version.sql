-- Keeps a version of a template as it is, with the layouts that it extended; one that is kept already stays as it is.
-- Called by: jtd.keep_template_version, jtd.keep_layout_version.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.keep_version(p_former public.n_jtd_templates, p_layouts jsonb) RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO public.n_jtd_template_versions (
        template_id, version, subject, content, content_html, variables, layouts, locale,
        provider_template_id, parameter_format, language, dlt_entity_id, dlt_template_id)
    VALUES (p_former.id, p_former.version, p_former.subject, p_former.content, p_former.content_html,
        p_former.variables, p_layouts, p_former.locale,
        p_former.provider_template_id, p_former.parameter_format, p_former.language,
        p_former.dlt_entity_id, p_former.dlt_template_id)
    ON CONFLICT DO NOTHING
$$;
REVOKE ALL ON FUNCTION jtd.keep_version(public.n_jtd_templates, jsonb) FROM PUBLIC;
