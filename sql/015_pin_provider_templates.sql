-- Keeps what a provider knows a template by with its former versions, so that a retry names the same one.

ALTER TABLE public.n_jtd_template_versions ADD COLUMN IF NOT EXISTS locale text;
ALTER TABLE public.n_jtd_template_versions ADD COLUMN IF NOT EXISTS provider_template_id text;
ALTER TABLE public.n_jtd_template_versions ADD COLUMN IF NOT EXISTS parameter_format text;
ALTER TABLE public.n_jtd_template_versions ADD COLUMN IF NOT EXISTS language text;
ALTER TABLE public.n_jtd_template_versions ADD COLUMN IF NOT EXISTS dlt_entity_id text;
ALTER TABLE public.n_jtd_template_versions ADD COLUMN IF NOT EXISTS dlt_template_id text;
COMMENT ON TABLE public.n_jtd_template_versions IS 'Former texts of templates with what providers know them by, so that a retry sends what its first attempt sent.';
COMMENT ON COLUMN public.n_jtd_template_versions.locale IS 'As n_jtd_templates has it; NULL too in what was kept before this column came.';
COMMENT ON COLUMN public.n_jtd_template_versions.provider_template_id IS 'As n_jtd_templates has it; NULL too in what was kept before this column came: it went as text.';
COMMENT ON COLUMN public.n_jtd_template_versions.parameter_format IS 'As n_jtd_templates has it.';
COMMENT ON COLUMN public.n_jtd_template_versions.language IS 'As n_jtd_templates has it.';
COMMENT ON COLUMN public.n_jtd_template_versions.dlt_entity_id IS 'As n_jtd_templates has it.';
COMMENT ON COLUMN public.n_jtd_template_versions.dlt_template_id IS 'As n_jtd_templates has it.';

COMMENT ON COLUMN public.n_jtd_templates.version IS 'Raised by trigger when a text changes, or what a provider knows it by; the former one is kept in n_jtd_template_versions.';
COMMENT ON COLUMN public.n_jtd_templates.variables IS '["name", ...] or [{"name", "type", "required", "default"}, ...]; in this order they are the parameters of an approved template.';
COMMENT ON COLUMN public.n_jtd_templates.provider_template_id IS 'The id or name under which a provider approved it; such a message goes as this id with parameters. NULL: it goes as text.';
COMMENT ON COLUMN public.n_jtd_templates.parameter_format IS 'How the approved template takes its parameters, positional or named; NULL is positional.';
COMMENT ON COLUMN public.n_jtd_templates.language IS 'The language code of the approved template, as the provider spells it; NULL is the locale of the job, else of the template.';
COMMENT ON COLUMN public.n_jtd_templates.dlt_entity_id IS 'India DLT: the principal entity, a number of up to 19 digits.';
COMMENT ON COLUMN public.n_jtd_templates.dlt_template_id IS 'India DLT: the registered template; its registered text is content.';

INSERT INTO jtd.migrations (name) VALUES ('015_pin_provider_templates') ON CONFLICT DO NOTHING;
