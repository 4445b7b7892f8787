-- Admits ready jobs to the queues: each queue up to its target depth, tenants in turn, most urgent first.
-- Called by: jtd.tick_v1, by one worker at a time.  Locks: rows of n_jtd, SKIP LOCKED.
-- Returns how many jobs it took off the list. Its work is bounded by what it admits, not by what is ready: a lane with
-- nothing new costs some probes. Afterwards each queue has a msg_id from which on new jobs go the way of the list, so
-- that producers fill it to twice its target at most, beside what one statement may bring.
CREATE OR REPLACE FUNCTION jtd.admit(p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rounds CONSTANT integer := 20;
    queue record;
    room integer;
    taken integer;
    admitted integer := 0;
BEGIN
    FOR queue IN
        SELECT q.queue_name, q.channel_code, q.lane, c.is_paused
        FROM jtd.queues AS q
        JOIN public.n_jtd_channels AS c ON c.code = q.channel_code
        ORDER BY q.lane DESC, q.queue_name
    LOOP
        PERFORM jtd.raise_floor(queue.queue_name);
        PERFORM jtd.close_windows(queue.queue_name);
        room := least(jtd.queue_room(queue.queue_name), p_limit);
        IF NOT queue.is_paused AND EXISTS (
            SELECT FROM jtd.windows AS w WHERE w.channel_code = queue.channel_code AND w.lane = queue.lane)
        THEN
            FOR number IN 1 .. rounds LOOP  -- what the share of a small tenant leaves, the others take
                EXIT WHEN room <= 0;
                taken := jtd.admit_queue(queue.queue_name, room);
                EXIT WHEN taken IS NULL;
                room := room - taken;
                admitted := admitted + taken;
            END LOOP;
        END IF;
        UPDATE jtd.queues AS q
        SET last_msg_id = now_at.msg_id, closes_at = now_at.msg_id + greatest(0, 2 * q.target_depth - q.depth)
        FROM (SELECT jtd.last_msg_id(queue.queue_name) AS msg_id) AS now_at
        WHERE q.queue_name = queue.queue_name
            AND (q.last_msg_id <> now_at.msg_id
                OR q.closes_at <> now_at.msg_id + greatest(0, 2 * q.target_depth - q.depth));
    END LOOP;
    RETURN admitted;
END
$$;
REVOKE ALL ON FUNCTION jtd.admit(integer) FROM PUBLIC;
