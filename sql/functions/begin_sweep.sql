-- Begins a sweep when one is due: a search of all jobs for those that are on no list.
-- Called by: jtd.tick_v1, by one worker at a time.  Locks: the row of jtd.sweeps.
-- Due after a worker's start; every ten minutes, or twenty times as long as the last took; and when three looks in
-- a row, five seconds apart, found fewer messages in the queues than the counts of jobs say, e.g. after a purge.
-- p_folded: steps that the counts took in just now; as many may be on their way, and make no difference.
CREATE OR REPLACE FUNCTION jtd.begin_sweep(p_folded integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sweep jtd.sweeps;
    jobs bigint;
    messages bigint := 0;
    there bigint;
    queue record;
BEGIN
    SELECT * INTO sweep FROM jtd.sweeps FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR sweep.is_running THEN
        RETURN;
    END IF;
    IF coalesce(sweep.compared_at < clock_timestamp() - interval '5 s', true) THEN
        SELECT greatest(0, coalesce(sum(c.jobs), 0) - p_folded) INTO jobs
        FROM jtd.counts AS c WHERE c.status_code IN ('queued', 'executing');
        FOR queue IN SELECT q.queue_name, q.floor FROM jtd.queues AS q LOOP
            EXECUTE format('SELECT count(*) FROM (SELECT FROM pgmq.%I AS m WHERE m.msg_id >= $1 ORDER BY m.msg_id'
                ' LIMIT $2) AS m', 'q_' || queue.queue_name) INTO there USING queue.floor, jobs;
            messages := messages + there;
            EXIT WHEN messages >= jobs;
        END LOOP;
        sweep.differed := CASE WHEN messages < jobs THEN sweep.differed + 1 ELSE 0 END;
        UPDATE jtd.sweeps SET compared_at = clock_timestamp(), differed = sweep.differed;
    END IF;
    UPDATE jtd.sweeps AS s
    SET is_running = true, below = NULL, found = 0, began_at = clock_timestamp(),
        differed = CASE WHEN s.differed >= 3 THEN 3 ELSE 0 END
    WHERE s.ended_at IS NULL OR EXISTS (SELECT FROM jtd.workers AS w WHERE w.started_at > s.began_at)
        OR s.ended_at < clock_timestamp() - greatest(interval '10 min', 20 * (s.ended_at - s.began_at))
        OR (s.differed >= 3 AND s.ended_at < clock_timestamp() - least(
            interval '1 day', interval '1 min' * 2 ^ s.fruitless) + interval '1 min');
    IF FOUND THEN  -- a queue that was made anew counts from 1
        UPDATE jtd.queues SET floor = 0, next_floor = NULL;
        PERFORM jtd.find_ready_tenants();
    END IF;
END
$$;
REVOKE ALL ON FUNCTION jtd.begin_sweep(integer) FROM PUBLIC;
