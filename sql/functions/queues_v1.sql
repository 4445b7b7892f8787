-- The queues of channels, the urgent lane of each first; every channel when none is named.
-- Called by: the worker at its start, jtd-worker status.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.queues_v1(p_channels text[])
RETURNS TABLE (queue_name text, channel_code text, lane text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT q.queue_name, q.channel_code, q.lane
    FROM jtd.queues AS q
    WHERE p_channels IS NULL OR q.channel_code = ANY (p_channels)
    ORDER BY q.lane DESC, q.channel_code
$$;
REVOKE ALL ON FUNCTION jtd.queues_v1(text[]) FROM PUBLIC;
