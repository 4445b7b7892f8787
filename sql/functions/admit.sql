-- Admits ready jobs to the queues: each queue up to its target depth, tenants in turn, most urgent first.
-- Called by: jtd.tick_v1, by one worker at a time.  Locks: rows of n_jtd, SKIP LOCKED.
-- Returns how many jobs it admitted. Afterwards jtd.windows names the tenants who still have ready jobs, and those
-- who filled a queue to its target by themselves: what they add next goes the way of the list.
CREATE OR REPLACE FUNCTION jtd.admit(p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    queue record;
    is_full boolean;
    room integer;
    taken integer;
    admitted integer := 0;
BEGIN
    FOR queue IN
        SELECT q.queue_name, q.channel_code, q.lane, q.target_depth, q.floor, c.is_paused
        FROM jtd.queues AS q
        JOIN public.n_jtd_channels AS c ON c.code = q.channel_code
        ORDER BY q.queue_name
    LOOP
        PERFORM jtd.raise_floor(queue.queue_name);
        EXECUTE format('SELECT (SELECT true FROM pgmq.%I AS m WHERE m.msg_id >= $1 ORDER BY m.msg_id OFFSET $2 LIMIT 1)'
            ' IS NOT NULL', 'q_' || queue.queue_name) INTO is_full USING queue.floor, queue.target_depth;
        IF NOT queue.is_paused
            AND EXISTS (SELECT FROM jtd.ready AS r WHERE r.channel_code = queue.channel_code AND r.lane = queue.lane)
        THEN
            room := least(jtd.queue_room(queue.queue_name), p_limit);
            WHILE room > 0 LOOP  -- what the share of a small tenant leaves, the others take
                taken := jtd.admit_queue(queue.queue_name, room);
                EXIT WHEN taken = 0;
                room := room - taken;
                admitted := admitted + taken;
            END LOOP;
        END IF;
        IF is_full THEN
            EXECUTE format('INSERT INTO jtd.windows (channel_code, lane, tenant_id) SELECT DISTINCT $1, $2, j.tenant_id '
                'FROM (SELECT m.message FROM pgmq.%I AS m ORDER BY m.msg_id DESC LIMIT 1000) AS m '
                'JOIN public.n_jtd AS j ON j.id = jtd.message_id(m.message) ON CONFLICT DO NOTHING',
                'q_' || queue.queue_name) USING queue.channel_code, queue.lane;
        ELSE
            DELETE FROM jtd.windows AS w
            WHERE w.channel_code = queue.channel_code AND w.lane = queue.lane AND (
                -- the limit keeps this an index probe for each window; the planner would read the whole list
                SELECT true FROM jtd.ready AS r
                WHERE r.channel_code = w.channel_code AND r.lane = w.lane AND r.tenant_id = w.tenant_id
                LIMIT 1) IS NULL;
        END IF;
        INSERT INTO jtd.windows (channel_code, lane, tenant_id)
        SELECT queue.channel_code, queue.lane, t.tenant_id
        FROM jtd.ready_tenants(queue.channel_code, queue.lane, nobody, 10000) AS t
        ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN admitted;
END
$$;
REVOKE ALL ON FUNCTION jtd.admit(integer) FROM PUBLIC;
