-- Whether there is nothing left to do now for workers of these queues.
-- Called by: `jtd-worker run --until-idle`.  Locks: nothing.
-- Jobs that wait for a later time, and what is paused or held back by a limit, do not count.
CREATE OR REPLACE FUNCTION jtd.idle_v1(p_queues text[]) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jtd.readable_queues(p_queues) = '{}'
        AND NOT EXISTS (SELECT FROM jtd.sweeps AS s WHERE s.is_running)
        AND NOT EXISTS (SELECT FROM jtd.inflight AS f WHERE f.queue_name = ANY (p_queues))
        AND NOT EXISTS (
            SELECT FROM jtd.queues AS q
            JOIN public.n_jtd_channels AS c ON c.code = q.channel_code AND NOT c.is_paused
            WHERE q.queue_name = ANY (p_queues) AND (
                EXISTS (SELECT FROM jtd.arrivals AS a WHERE a.channel_code = q.channel_code AND a.lane = q.lane)
                OR EXISTS (SELECT FROM jtd.ready_tenants(
                    q.channel_code, q.lane, '00000000-0000-0000-0000-000000000000', 1))))
        AND NOT EXISTS (
            SELECT FROM jtd.waiting AS w JOIN jtd.queues AS q ON q.channel_code = w.channel_code
            WHERE w.due <= now() AND q.queue_name = ANY (p_queues))
        AND NOT (jtd.is_adopted() AND EXISTS (
            SELECT FROM jtd.recurring AS r JOIN public.n_jtd AS j ON j.id = r.jtd_id WHERE r.next_look <= now()))
$$;
REVOKE ALL ON FUNCTION jtd.idle_v1(text[]) FROM PUBLIC;
