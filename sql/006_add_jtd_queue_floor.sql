-- Adds to each queue where its readers begin, so that they do not walk past what was deleted long ago.

ALTER TABLE jtd.queues ADD COLUMN IF NOT EXISTS floor bigint NOT NULL DEFAULT 0;
ALTER TABLE jtd.queues ADD COLUMN IF NOT EXISTS next_floor bigint;
ALTER TABLE jtd.queues ADD COLUMN IF NOT EXISTS next_floor_from xid8;
COMMENT ON COLUMN jtd.queues.floor IS 'No message has a lower msg_id: reads begin here.';
COMMENT ON COLUMN jtd.queues.next_floor IS 'The lowest msg_id at an earlier look; the floor once every transaction of that time has ended.';
COMMENT ON COLUMN jtd.queues.next_floor_from IS 'The first transaction id that was not given out at that look.';

INSERT INTO jtd.migrations (name) VALUES ('006_add_jtd_queue_floor') ON CONFLICT DO NOTHING;
