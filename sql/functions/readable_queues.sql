-- Those of the queues in which a message can be read now, and whose channel is not paused.
-- Called by: jtd.tick_v1, jtd.idle_v1.  Locks: nothing.  STABLE, so that jtd.idle_v1 sees queues and the jobs in
-- flight at one moment.  None readable, an empty array.
CREATE OR REPLACE FUNCTION jtd.readable_queues(p_queues text[]) RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    queue text;
    is_readable boolean;
    readable text[] := '{}';
BEGIN
    FOR queue IN
        SELECT q.queue_name
        FROM jtd.queues AS q
        JOIN public.n_jtd_channels AS c ON c.code = q.channel_code AND NOT c.is_paused
        WHERE q.queue_name = ANY (p_queues)
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM pgmq.%I AS m WHERE m.vt <= clock_timestamp())', 'q_' || queue)
            INTO is_readable;
        IF is_readable THEN
            readable := readable || queue;
        END IF;
    END LOOP;
    RETURN readable;
END
$$;
REVOKE ALL ON FUNCTION jtd.readable_queues(text[]) FROM PUBLIC;
