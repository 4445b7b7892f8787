-- Those of the queues in which a message can be read now, and whose channel is not paused.
-- Called by: jtd.tick_v1, jtd.idle_v1.  Locks: nothing.  STABLE, so that jtd.idle_v1 sees queues and the jobs in
-- flight at one moment.  None readable, an empty array.
CREATE OR REPLACE FUNCTION jtd.readable_queues(p_queues text[]) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    queue record;
    is_readable boolean;
    readable text[] := '{}';
BEGIN
    FOR queue IN
        SELECT q.queue_name, q.floor
        FROM jtd.queues AS q
        JOIN public.n_jtd_channels AS c ON c.code = q.channel_code AND NOT c.is_paused
        WHERE q.queue_name = ANY (p_queues)
    LOOP
        EXECUTE format('SELECT (SELECT true FROM pgmq.%I AS m WHERE m.msg_id >= $1 AND m.vt <= clock_timestamp()'
            ' ORDER BY m.msg_id LIMIT 1) IS NOT NULL', 'q_' || queue.queue_name) INTO is_readable USING queue.floor;
        IF is_readable THEN
            readable := readable || queue.queue_name;
        END IF;
    END LOOP;
    RETURN readable;
END
$$;
REVOKE ALL ON FUNCTION jtd.readable_queues(text[]) FROM PUBLIC;
