-- Adds what admission needs to look at few tenants and messages in one tick, however many there are.

CREATE TABLE IF NOT EXISTS jtd.arrivals (
    channel_code text NOT NULL,
    lane text NOT NULL,
    txid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    tenant_id uuid NOT NULL,
    PRIMARY KEY (channel_code, lane, txid, tenant_id)
);
COMMENT ON TABLE jtd.arrivals IS 'Tenants whose jobs came onto jtd.ready, until the scheduler has closed their windows. The key holds the transaction, so that no producer waits for another.';
COMMENT ON COLUMN jtd.arrivals.channel_code IS 'As in jtd.ready.';
COMMENT ON COLUMN jtd.arrivals.lane IS 'As in jtd.ready.';
COMMENT ON COLUMN jtd.arrivals.txid IS 'The transaction that listed the jobs.';
COMMENT ON COLUMN jtd.arrivals.tenant_id IS 'As in jtd.ready.';

ALTER TABLE jtd.queues ADD COLUMN IF NOT EXISTS arrivals_from bigint NOT NULL DEFAULT 0;
ALTER TABLE jtd.queues ADD COLUMN IF NOT EXISTS last_msg_id bigint NOT NULL DEFAULT 0;
ALTER TABLE jtd.queues ADD COLUMN IF NOT EXISTS closes_at bigint NOT NULL DEFAULT 1000;
ALTER TABLE jtd.queues ALTER COLUMN measured_at SET DEFAULT '-infinity';
UPDATE jtd.queues SET measured_at = '-infinity';
COMMENT ON COLUMN jtd.queues.arrivals_from IS 'Every row of jtd.arrivals of an earlier transaction has been read.';
COMMENT ON COLUMN jtd.queues.last_msg_id IS 'The last msg_id given out before the end of the last admission.';
COMMENT ON COLUMN jtd.queues.closes_at IS 'From this msg_id on new jobs await admission, whosoever they are: so the queue stays short between two ticks, and without any.';
COMMENT ON COLUMN jtd.queues.target_depth IS 'Readable messages that admission keeps in the queue: about 0.6 s of what is read from it, in an urgent lane 0.3 s.';
COMMENT ON COLUMN jtd.queues.depth IS 'Readable messages in the queue after the last admission.';
COMMENT ON COLUMN jtd.queues.measured_at IS 'When messages were last seen to have been read.';
COMMENT ON TABLE jtd.windows IS 'Tenants with jobs in jtd.ready, who take turns at admission; their new jobs queue up behind those. Written by the scheduler alone, and at times a tick late.';

-- jtd_id is no key of it: else, where the planner thinks the list short, it looks jobs up by walking all of this index.
CREATE INDEX IF NOT EXISTS ready_order_idx
    ON jtd.ready (channel_code, lane, tenant_id, priority DESC, arrived_at) INCLUDE (jtd_id);
DROP INDEX IF EXISTS jtd.ready_turn_idx;

INSERT INTO jtd.windows (channel_code, lane, tenant_id)
SELECT DISTINCT r.channel_code, r.lane, r.tenant_id FROM jtd.ready AS r
ON CONFLICT DO NOTHING;

INSERT INTO jtd.migrations (name) VALUES ('011_add_jtd_fair_admission') ON CONFLICT DO NOTHING;
