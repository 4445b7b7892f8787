-- Admits ready jobs to the queues: each queue up to its target depth, tenants in turn, most urgent first.
-- Called by: jtd.tick_v1, by one worker at a time.  Locks: rows of n_jtd by id, SKIP LOCKED.
-- Returns how many jobs it admitted; afterwards jtd.windows names the tenants who still have ready jobs.
CREATE OR REPLACE FUNCTION jtd.admit(p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    queue record;
    room integer;
    admitted integer := 0;
BEGIN
    DELETE FROM jtd.windows AS w
    WHERE NOT EXISTS (SELECT FROM jtd.ready AS r
        WHERE r.channel_code = w.channel_code AND r.lane = w.lane AND r.tenant_id = w.tenant_id);
    FOR queue IN
        SELECT q.queue_name, q.channel_code, q.lane
        FROM jtd.queues AS q
        JOIN public.n_jtd_channels AS c ON c.code = q.channel_code AND NOT c.is_paused
        WHERE EXISTS (SELECT FROM jtd.ready AS r WHERE r.channel_code = q.channel_code AND r.lane = q.lane)
        ORDER BY q.queue_name
    LOOP
        room := least(jtd.queue_room(queue.queue_name), p_limit);
        IF room > 0 THEN
            admitted := admitted + jtd.admit_queue(queue.queue_name, room);
        END IF;
        INSERT INTO jtd.windows (channel_code, lane, tenant_id)
        SELECT queue.channel_code, queue.lane, t.tenant_id
        FROM jtd.ready_tenants(queue.channel_code, queue.lane, '00000000-0000-0000-0000-000000000000', 10000) AS t
        ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN admitted;
END
$$;
REVOKE ALL ON FUNCTION jtd.admit(integer) FROM PUBLIC;
