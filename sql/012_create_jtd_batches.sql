-- Adds what makes one message of several to the same recipient.

ALTER TABLE public.n_jtd ADD COLUMN IF NOT EXISTS carrier_id uuid;
ALTER TABLE public.n_jtd ADD COLUMN IF NOT EXISTS carries uuid[];
CREATE INDEX IF NOT EXISTS n_jtd_carrier_idx ON public.n_jtd (carrier_id) WHERE carrier_id IS NOT NULL;
COMMENT ON COLUMN public.n_jtd.carrier_id IS 'The job whose message carries this one, too; its own id on a job that waited for others.';
COMMENT ON COLUMN public.n_jtd.carries IS 'Of a job that carries others: all that are in its message, itself first; settled when a worker first takes it.';
COMMENT ON COLUMN public.n_jtd_tenant_source_config.batch_window_seconds IS 'Messages to one recipient within this time become one, if their event type supports it and their template reads items.';
COMMENT ON COLUMN public.n_jtd_event_types.supports_batch IS 'Whether batch_window_seconds of a tenant holds for it.';

ALTER TABLE jtd.waiting ADD COLUMN IF NOT EXISTS batch_key text;
CREATE INDEX IF NOT EXISTS waiting_batch_idx ON jtd.waiting (batch_key, jtd_id) WHERE batch_key IS NOT NULL;
COMMENT ON COLUMN jtd.waiting.batch_key IS 'Jobs of one key that wait together become one message.';

INSERT INTO jtd.migrations (name) VALUES ('012_create_jtd_batches') ON CONFLICT DO NOTHING;
