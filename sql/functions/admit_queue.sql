-- Admits up to p_room ready jobs to one queue, an equal share for each tenant in turn.
-- Called by: jtd.admit.  Locks: rows of n_jtd in their turn, SKIP LOCKED; the queue's row in jtd.queues.
-- Returns how many it took off the list; jobs that the gate stops end here with their reason. Jobs that somebody
-- holds are passed over, and so are tenants who are paused or have used up a limit. One that takes no change
-- (SQLSTATE 22, 23) waits an hour, with a note in its audit trail.
CREATE OR REPLACE FUNCTION jtd.admit_queue(p_queue text, p_room integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    queue jtd.queues;
    tenants uuid[];
    share integer;
    held uuid[];
    passed uuid[];
BEGIN
    SELECT * INTO queue FROM jtd.queues AS q WHERE q.queue_name = p_queue;
    tenants := ARRAY(
        SELECT t.tenant_id
        FROM jtd.ready_tenants(queue.channel_code, queue.lane, queue.next_tenant, p_room + 1) AS t);
    IF cardinality(tenants) <= p_room THEN  -- the round goes on from the first tenant
        tenants := tenants || ARRAY(
            SELECT t.tenant_id
            FROM jtd.ready_tenants(queue.channel_code, queue.lane, nobody, p_room + 1 - cardinality(tenants)) AS t
            WHERE t.tenant_id < queue.next_tenant);
    END IF;
    share := greatest(1, p_room / greatest(1, cardinality(tenants)));
    -- the lock sits inside the limit, so that a job that somebody holds does not take the place of another
    held := ARRAY(
        SELECT turn.id
        FROM (SELECT u.tenant_id, jtd.holdup(u.tenant_id, queue.channel_code) AS holdup
            FROM unnest(tenants[1:p_room]) AS u (tenant_id)) AS t
        CROSS JOIN LATERAL (
            SELECT j.id
            FROM (
                (SELECT r.jtd_id
                FROM jtd.ready AS r
                WHERE t.holdup IS NULL
                    AND r.channel_code = queue.channel_code AND r.lane = queue.lane AND r.tenant_id = t.tenant_id
                ORDER BY r.priority DESC, r.arrived_at, r.jtd_id
                LIMIT share + 10000)
                UNION ALL
                (SELECT r.jtd_id
                FROM jtd.ready AS r
                WHERE t.holdup = 'all but exempt' AND r.is_exempt
                    AND r.channel_code = queue.channel_code AND r.lane = queue.lane AND r.tenant_id = t.tenant_id
                ORDER BY r.priority DESC, r.arrived_at, r.jtd_id
                LIMIT share + 10000)
            ) AS r
            CROSS JOIN LATERAL (
                SELECT j.id FROM public.n_jtd AS j WHERE j.id = r.jtd_id FOR NO KEY UPDATE SKIP LOCKED) AS j
            LIMIT share
        ) AS turn);
    passed := jtd.pass_gate(ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (held) AND j.status_code = 'pending'));
    PERFORM jtd.step(passed, 'queued');
    PERFORM jtd.unlist(ARRAY(  -- what is not pending any more has no place on the list
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (held) AND j.status_code <> 'pending'));
    IF held = '{}' THEN  -- what these tenants have on the list is locked, or names no job
        PERFORM jtd.unlist(ARRAY(
            SELECT r.jtd_id
            FROM (
                SELECT r.jtd_id
                FROM jtd.ready AS r
                WHERE r.channel_code = queue.channel_code AND r.lane = queue.lane AND r.tenant_id = ANY (tenants)
                LIMIT 10000
            ) AS r
            LEFT JOIN LATERAL (SELECT j.id FROM public.n_jtd AS j WHERE j.id = r.jtd_id OFFSET 0) AS j ON true
            WHERE j.id IS NULL));
    END IF;
    UPDATE jtd.queues AS q
    SET next_tenant = coalesce(tenants[p_room + 1], nobody), depth = q.depth + cardinality(passed)
    WHERE q.queue_name = p_queue;
    RETURN cardinality(held);
EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    IF cardinality(held) > 1 THEN
        RETURN jtd.admit_queue(p_queue, p_room / 2);
    ELSIF cardinality(held) = 1 IS NOT TRUE THEN
        RAISE;
    END IF;
    PERFORM jtd.remark(held[1], 'note', left('it cannot be queued: ' || SQLERRM, 500), NULL);
    PERFORM jtd.unlist(held);
    INSERT INTO jtd.waiting (jtd_id, due, channel_code, tenant_id, reason)
    SELECT j.id, now() + interval '1 hour', j.channel_code, j.tenant_id, 'refused'
    FROM public.n_jtd AS j
    WHERE j.id = held[1];
    RETURN 1;
END
$$;
REVOKE ALL ON FUNCTION jtd.admit_queue(text, integer) FROM PUBLIC;
