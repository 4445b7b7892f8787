-- Every message of our queues with the job that it names.
-- Called by: jtd.whereabouts.  Locks: nothing.  Reads whole queues: for people and tests, not for the hot path.
CREATE OR REPLACE FUNCTION jtd.queue_messages()
RETURNS TABLE (queue_name text, msg_id bigint, jtd_id uuid, visible_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    queue text;
BEGIN
    FOR queue IN SELECT q.queue_name FROM jtd.queues AS q LOOP
        RETURN QUERY EXECUTE format(
            'SELECT %L::text, m.msg_id, jtd.message_id(m.message), m.vt FROM pgmq.%I AS m', queue, 'q_' || queue);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION jtd.queue_messages() FROM PUBLIC;
