-- Adds tenants' own credentials: where they are kept, and what finds the tenants that name one.

-- One document of settings and secrets for each name. Nobody reads it but by jtd.credential_v1, which is the worker's.
-- Where the host has Supabase's vault, that keeps them instead, and this table stays empty.
CREATE TABLE IF NOT EXISTS jtd.credentials (
    name text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,39}$'),
    document jsonb NOT NULL CHECK (jsonb_typeof(document) = 'object' AND octet_length(document::text) <= 65536),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON jtd.credentials FROM PUBLIC;
COMMENT ON TABLE jtd.credentials IS 'Credentials that tenants name as pg:<name>; jtd.put_credential writes it, workers read it. Holds secrets.';
COMMENT ON COLUMN jtd.credentials.name IS 'What stands after pg: in a reference.';
COMMENT ON COLUMN jtd.credentials.document IS 'The settings of one provider, with "provider" and with "tenants": who may use it.';
COMMENT ON COLUMN jtd.credentials.created_at IS 'When it was first put here.';
COMMENT ON COLUMN jtd.credentials.updated_at IS 'When it was last replaced.';

-- A claim asks for them each time; mostly there are none.
CREATE INDEX IF NOT EXISTS n_jtd_tenant_config_refs_idx ON public.n_jtd_tenant_config (tenant_id, is_live)
    WHERE is_active AND provider_config_refs <> '{}';
COMMENT ON COLUMN public.n_jtd_tenant_config.provider_config_refs IS '{channel: {provider, credential, from, reply_to, sender_id, fallback}}: as whom, and by whose account, the tenant''s messages go. References, never secrets.';

INSERT INTO jtd.migrations (name) VALUES ('018_add_jtd_credentials') ON CONFLICT DO NOTHING;
