-- Creates what finds a lost job again, and what knows one database from another.

CREATE TABLE IF NOT EXISTS jtd.sweeps (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    is_running boolean NOT NULL DEFAULT false,
    below uuid,
    found bigint NOT NULL DEFAULT 0,
    began_at timestamptz,
    ended_at timestamptz,
    compared_at timestamptz,
    differed integer NOT NULL DEFAULT 0,
    fruitless integer NOT NULL DEFAULT 0
);
INSERT INTO jtd.sweeps DEFAULT VALUES ON CONFLICT DO NOTHING;
COMMENT ON TABLE jtd.sweeps IS 'How far the search for jobs that are on no list has got; written by the scheduler and jtd.rebuild_queues.';
COMMENT ON COLUMN jtd.sweeps.below IS 'Ids from here on are looked at next, the newest first; NULL begins with the newest of all.';
COMMENT ON COLUMN jtd.sweeps.found IS 'Jobs that this sweep, or when none runs the last, has put back on their lists.';
COMMENT ON COLUMN jtd.sweeps.differed IS 'How many times in a row fewer messages were in the queues than jobs say.';
COMMENT ON COLUMN jtd.sweeps.fruitless IS 'Sweeps in a row that such a difference began and that found nothing; each doubles the pause before the next.';

CREATE TABLE IF NOT EXISTS jtd.instance (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    timeline integer NOT NULL,
    turned_at timestamptz NOT NULL DEFAULT '-infinity',
    known_since timestamptz NOT NULL,
    adopted_by text
);
COMMENT ON TABLE jtd.instance IS 'Which database this is: on any other that holds the same rows, nothing is sent until jtd.adopt.';
COMMENT ON COLUMN jtd.instance.timeline IS 'Timeline of the write-ahead log; a failover or a recovery to a point in time begins a new one.';
COMMENT ON COLUMN jtd.instance.turned_at IS 'When a new timeline was noticed: what was written last before that may be lost.';
COMMENT ON COLUMN jtd.instance.known_since IS 'Jobs without a trace of a later time were brought from elsewhere, and rest until they are adopted.';

ALTER TABLE jtd.workers ADD COLUMN IF NOT EXISTS outbox_channels text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN jtd.workers.outbox_channels IS 'Channels of which this worker sends nothing, since the outbox takes it all.';

CREATE INDEX IF NOT EXISTS counts_status_idx ON jtd.counts (status_code);

INSERT INTO jtd.migrations (name) VALUES ('004_create_jtd_recovery') ON CONFLICT DO NOTHING;
