-- Makes the queues of every channel, and the dead letter queue; what exists is left alone.
-- Called by: sql/triggers.sql, and the trigger on public.n_jtd_channels.  Locks: nothing for long.
-- The index on vt is dropped: a read never uses it, and it keeps updates off the page.
CREATE OR REPLACE FUNCTION jtd.make_queues() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    missing record;
BEGIN
    FOR missing IN
        SELECT wanted.queue_name, wanted.channel_code, wanted.lane
        FROM (
            SELECT c.queue_name || l.suffix, c.code, l.lane
            FROM public.n_jtd_channels AS c
            CROSS JOIN (VALUES ('normal', ''), ('urgent', '_urgent')) AS l (lane, suffix)
            UNION ALL
            SELECT 'jtd_dlq', NULL, NULL
        ) AS wanted (queue_name, channel_code, lane)
        WHERE to_regclass('pgmq.q_' || wanted.queue_name) IS NULL
            OR (wanted.lane IS NOT NULL
                AND NOT EXISTS (SELECT FROM jtd.queues AS q WHERE q.queue_name = wanted.queue_name))
    LOOP
        IF to_regclass('pgmq.q_' || missing.queue_name) IS NULL THEN
            PERFORM pgmq.create(missing.queue_name);
            UPDATE jtd.queues AS q SET floor = 0, next_floor = NULL WHERE q.queue_name = missing.queue_name;
            EXECUTE format('DROP INDEX IF EXISTS pgmq.%I', 'q_' || missing.queue_name || '_vt_idx');
        END IF;
        IF missing.lane IS NOT NULL THEN
            INSERT INTO jtd.queues (queue_name, channel_code, lane)
            VALUES (missing.queue_name, missing.channel_code, missing.lane)
            ON CONFLICT DO NOTHING;
        END IF;
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.make_queues() FROM PUBLIC;
