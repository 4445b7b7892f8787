-- Creates what the worker keeps beside n_jtd: queues, the lists of what waits, and what is in flight.
--
-- All of it can be made again from n_jtd alone. Needs PGMQ (schema pgmq). Safe to run again.

CREATE TABLE IF NOT EXISTS jtd.queues (
    queue_name text PRIMARY KEY,
    channel_code text NOT NULL,
    lane text NOT NULL CHECK (lane IN ('normal', 'urgent')),
    target_depth integer NOT NULL DEFAULT 1000 CHECK (target_depth > 0),
    depth integer NOT NULL DEFAULT 0,
    measured_at timestamptz NOT NULL DEFAULT now(),
    next_tenant uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    UNIQUE (channel_code, lane)
);
COMMENT ON TABLE jtd.queues IS 'The PGMQ queue of each channel and lane; written by the scheduler alone.';
COMMENT ON COLUMN jtd.queues.target_depth IS 'Messages that admission keeps in the queue: about ten seconds of work.';
COMMENT ON COLUMN jtd.queues.depth IS 'Messages in the queue after the last admission.';
COMMENT ON COLUMN jtd.queues.next_tenant IS 'Where the next round of admission begins.';

CREATE TABLE IF NOT EXISTS jtd.waiting (
    jtd_id uuid PRIMARY KEY,
    due timestamptz NOT NULL,
    channel_code text NOT NULL,
    tenant_id uuid NOT NULL,
    reason text NOT NULL
);
CREATE INDEX IF NOT EXISTS waiting_due_idx ON jtd.waiting (due);
COMMENT ON TABLE jtd.waiting IS 'Jobs that are not due yet, with the reason; at due they are placed again.';

CREATE TABLE IF NOT EXISTS jtd.ready (
    jtd_id uuid PRIMARY KEY,
    channel_code text NOT NULL,
    lane text NOT NULL,
    tenant_id uuid NOT NULL,
    priority integer NOT NULL,
    arrived_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS ready_turn_idx
    ON jtd.ready (channel_code, lane, tenant_id, priority DESC, arrived_at, jtd_id);
COMMENT ON TABLE jtd.ready IS 'Jobs that are due and await admission to the queue of their channel and lane.';

CREATE TABLE IF NOT EXISTS jtd.windows (
    channel_code text NOT NULL,
    lane text NOT NULL,
    tenant_id uuid NOT NULL,
    PRIMARY KEY (channel_code, lane, tenant_id)
);
COMMENT ON TABLE jtd.windows IS 'Tenants with older jobs in jtd.ready: their new jobs queue up behind those. Written by the scheduler alone.';

CREATE TABLE IF NOT EXISTS jtd.workers (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    channels text[] NOT NULL,
    lease_seconds integer NOT NULL CHECK (lease_seconds > 0),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL
);
COMMENT ON TABLE jtd.workers IS 'Running workers; one whose lease is over is dead, and what it held is reclaimed.';
COMMENT ON COLUMN jtd.workers.name IS 'Host and process id, for people.';

CREATE TABLE IF NOT EXISTS jtd.inflight (
    jtd_id uuid PRIMARY KEY,
    attempt integer NOT NULL,
    worker_id uuid NOT NULL,
    queue_name text NOT NULL,
    msg_id bigint NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    handed_off_at timestamptz,
    provider text,
    unknown_rule text CHECK (unknown_rule IN ('idempotent_retry', 'hold', 'resend'))
) WITH (fillfactor = 50);
CREATE INDEX IF NOT EXISTS inflight_worker_idx ON jtd.inflight (worker_id);
COMMENT ON TABLE jtd.inflight IS 'What is executing: a claim writes it, a settle deletes it.';
COMMENT ON COLUMN jtd.inflight.handed_off_at IS 'Set before the first byte leaves; NULL means that the message has certainly not been sent.';
COMMENT ON COLUMN jtd.inflight.provider IS 'Whom it was handed to.';
COMMENT ON COLUMN jtd.inflight.unknown_rule IS 'What follows if the worker dies after the hand-off.';

CREATE TABLE IF NOT EXISTS jtd.sleepers (
    queue_name text NOT NULL,
    worker_id uuid NOT NULL,
    PRIMARY KEY (queue_name, worker_id)
);
COMMENT ON TABLE jtd.sleepers IS 'Workers that found a queue empty and want to be notified; without a sleeper nobody notifies.';

CREATE TABLE IF NOT EXISTS jtd.discards (
    queue_name text NOT NULL,
    reason text NOT NULL,
    count bigint NOT NULL,
    last_at timestamptz NOT NULL,
    last_jtd_id uuid,
    PRIMARY KEY (queue_name, reason)
);
COMMENT ON TABLE jtd.discards IS 'Messages that a claim did not turn into work, counted by reason.';

CREATE TABLE IF NOT EXISTS jtd.counts (
    tenant_id uuid NOT NULL,
    channel_code text NOT NULL,
    event_type_code text NOT NULL,
    status_code text NOT NULL,
    jobs bigint NOT NULL,
    PRIMARY KEY (tenant_id, channel_code, event_type_code, status_code)
) WITH (fillfactor = 50);
COMMENT ON TABLE jtd.counts IS 'Jobs by status, folded from the audit trail by the scheduler, a moment behind; channel_code is empty for jobs without one.';

CREATE TABLE IF NOT EXISTS jtd.counted (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    below_txid bigint NOT NULL DEFAULT 0,
    counted_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO jtd.counted DEFAULT VALUES ON CONFLICT DO NOTHING;
COMMENT ON TABLE jtd.counted IS 'How far jtd.counts has got: every audit row of a transaction below below_txid is in it.';

CREATE TABLE IF NOT EXISTS jtd.attention (
    jtd_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    channel_code text,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS attention_reason_idx ON jtd.attention (reason, since);
COMMENT ON TABLE jtd.attention IS 'Jobs that a person should look at: failed at rest, of unknown outcome, bounced, blocked.';

CREATE OR REPLACE VIEW jtd.durations WITH (security_invoker = true) AS
SELECT h.jtd_id, h.to_status_code AS status_code, h.created_at AS since,
    lead(h.created_at) OVER (PARTITION BY h.jtd_id ORDER BY h.id) - h.created_at AS lasted
FROM public.n_jtd_history AS h
WHERE h.action IN ('created', 'imported', 'status_changed');
COMMENT ON VIEW jtd.durations IS 'How long each job was in each state; NULL for the state it is in. Shows what its reader may read.';

-- The shape of one result inside the functions that settle; workers hand it over as JSON.
DO $type$
BEGIN
    CREATE TYPE jtd.result AS (
        id uuid, attempt integer, outcome text, code text, reason text, delay double precision, rule text,
        provider text, provider_message_id text, response jsonb, delivery jsonb, answer text);
EXCEPTION WHEN duplicate_object THEN
    NULL;
END
$type$;

INSERT INTO jtd.migrations (name) VALUES ('003_create_jtd_queue') ON CONFLICT DO NOTHING;
