-- Creates what providers report of messages later, and the way from a provider's id to its job.

CREATE TABLE IF NOT EXISTS public.n_jtd_receipts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_code varchar(50) NOT NULL,
    provider varchar(100) NOT NULL,
    event_key varchar(200) NOT NULL,
    kind varchar(20) NOT NULL CHECK (kind IN ('sent', 'delivered', 'read', 'bounced', 'soft_bounced', 'failed',
        'complained', 'unsubscribed', 'deferred')),
    provider_message_id text,
    message_key uuid,
    reference uuid,
    recipient text,
    occurred_at timestamptz,
    received_at timestamptz NOT NULL DEFAULT now(),
    code varchar(100),
    reason text,
    details jsonb NOT NULL DEFAULT '{}',
    jtd_id uuid,
    state varchar(20) NOT NULL DEFAULT 'parked' CHECK (state IN ('parked', 'applied', 'ignored')),
    state_reason varchar(50),
    state_changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT n_jtd_receipts_key UNIQUE (channel_code, provider, event_key)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
-- No index over two states: a few parked ones are never looked for among millions that are not.
CREATE INDEX IF NOT EXISTS n_jtd_receipts_settled_idx
    ON public.n_jtd_receipts (jtd_id) WHERE state <> 'parked' AND jtd_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS n_jtd_receipts_parked_idx
    ON public.n_jtd_receipts (id) WHERE state = 'parked' AND state_reason IS NOT NULL;
CREATE INDEX IF NOT EXISTS n_jtd_receipts_parked_job_idx
    ON public.n_jtd_receipts (jtd_id) WHERE state = 'parked' AND jtd_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS n_jtd_receipts_parked_message_idx
    ON public.n_jtd_receipts (message_key) WHERE state = 'parked' AND message_key IS NOT NULL;
COMMENT ON TABLE public.n_jtd_receipts IS 'What providers reported of messages after they had taken them; each event once.';
COMMENT ON COLUMN public.n_jtd_receipts.provider IS 'Family name: of sendgrid.backup and sendgrid@acme it is sendgrid.';
COMMENT ON COLUMN public.n_jtd_receipts.event_key IS 'The same for each copy of the event, and for no other of this provider and channel.';
COMMENT ON COLUMN public.n_jtd_receipts.message_key IS 'Digest of channel, provider and provider_message_id, as in jtd.sent_ids.';
COMMENT ON COLUMN public.n_jtd_receipts.reference IS 'The id of the job, where the provider echoes it.';
COMMENT ON COLUMN public.n_jtd_receipts.recipient IS 'As the provider wrote it; tells apart the jobs of one provider_message_id.';
COMMENT ON COLUMN public.n_jtd_receipts.occurred_at IS 'By the provider''s clock.';
COMMENT ON COLUMN public.n_jtd_receipts.details IS '{"all": true} makes an unsubscribed one hold for every source type; the rest is for people.';
COMMENT ON COLUMN public.n_jtd_receipts.jtd_id IS 'Its job, once found.';
COMMENT ON COLUMN public.n_jtd_receipts.state IS 'parked: waits for its job, or for the end of its attempt. applied: is in the audit trail of its job. ignored: changed nothing.';
COMMENT ON COLUMN public.n_jtd_receipts.state_reason IS 'Why it is parked or ignored.';
COMMENT ON COLUMN public.n_jtd_receipts.state_changed_at IS 'Describes only; for screens.';

-- The list from which receipts are taken: new ones, and parked ones whose job has moved on. A list of its own, since
-- who settles a job must not wait for who applies its receipts: an entry too many is harmless.
CREATE TABLE IF NOT EXISTS jtd.receipts_due (
    turn bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    receipt_id bigint NOT NULL,
    after_txid bigint NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX IF NOT EXISTS receipts_due_turn_idx ON jtd.receipts_due (turn, receipt_id);
COMMENT ON TABLE jtd.receipts_due IS 'Receipts to look at next; an entry is deleted when it was looked at.';
COMMENT ON COLUMN jtd.receipts_due.turn IS 'The transaction that listed it: the oldest are looked at first.';
COMMENT ON COLUMN jtd.receipts_due.after_txid IS 'Not before every transaction below this one is over: one of them may be saving the id that was not found.';

CREATE TABLE IF NOT EXISTS jtd.sent_ids (
    message_key uuid NOT NULL,
    jtd_id uuid NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (message_key, jtd_id)
);
CREATE INDEX IF NOT EXISTS sent_ids_saved_idx ON jtd.sent_ids (saved_at);
COMMENT ON TABLE jtd.sent_ids IS 'The jobs that a provider knows by an id of its own, for 40 days; several where it gave one id to a batch.';
COMMENT ON COLUMN jtd.sent_ids.message_key IS 'Digest of channel, provider (the family) and provider_message_id, so of one length whatever the provider sends.';

CREATE TABLE IF NOT EXISTS jtd.receipts_progress (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    floor bigint NOT NULL DEFAULT 0,
    pruned_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
INSERT INTO jtd.receipts_progress DEFAULT VALUES ON CONFLICT DO NOTHING;
COMMENT ON TABLE jtd.receipts_progress IS 'How far the receipts have got; written by the scheduler.';
COMMENT ON COLUMN jtd.receipts_progress.floor IS 'No entry of jtd.receipts_due has a lower turn: readers begin here, and not with what was deleted long ago.';
COMMENT ON COLUMN jtd.receipts_progress.pruned_at IS 'When old receipts were last looked for, and none was left.';

-- What is to be done about a receipt, inside the functions that apply them.
DO $type$
BEGIN
    CREATE TYPE jtd.verdict AS (receipt_id bigint, jtd_id uuid, verdict text, why text, path text[], turn integer);
EXCEPTION WHEN duplicate_object THEN
    NULL;
END
$type$;

ALTER TABLE jtd.inflight DROP CONSTRAINT IF EXISTS inflight_unknown_rule_check;
ALTER TABLE jtd.inflight ADD CONSTRAINT inflight_unknown_rule_check
    CHECK (unknown_rule IN ('idempotent_retry', 'wait_for_receipt', 'hold', 'resend'));

-- As in 001: hosts that publish the schema public grant new tables and sequences to their web roles, and receipts hold
-- contacts.
DO $rights$
DECLARE
    web_role text;
BEGIN
    FOR web_role IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON public.n_jtd_receipts FROM %I', web_role);
        EXECUTE pg_catalog.format('REVOKE ALL ON SEQUENCE public.n_jtd_receipts_id_seq FROM %I', web_role);
    END LOOP;
END
$rights$;

INSERT INTO jtd.migrations (name) VALUES ('014_create_jtd_receipts') ON CONFLICT DO NOTHING;
