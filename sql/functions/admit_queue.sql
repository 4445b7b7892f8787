-- Admits up to p_room ready jobs to one queue, an equal share for each tenant in turn.
-- Called by: jtd.admit.  Locks: rows of n_jtd by id, SKIP LOCKED; the queue's row in jtd.queues.
-- Returns how many list entries it took off; jobs that the gate stops end here with their reason.
CREATE OR REPLACE FUNCTION jtd.admit_queue(p_queue text, p_room integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    queue jtd.queues;
    tenants uuid[];
    chosen uuid[];
    held uuid[];
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
    chosen := ARRAY(
        SELECT turn.jtd_id
        FROM unnest(tenants[1:p_room]) WITH ORDINALITY AS t (tenant_id, place)
        CROSS JOIN LATERAL (
            SELECT r.jtd_id, row_number() OVER () AS place
            FROM jtd.ready AS r
            WHERE r.channel_code = queue.channel_code AND r.lane = queue.lane AND r.tenant_id = t.tenant_id
            ORDER BY r.priority DESC, r.arrived_at, r.jtd_id
            LIMIT greatest(1, p_room / greatest(1, cardinality(tenants[1:p_room])))
        ) AS turn
        ORDER BY turn.place, t.place);
    held := ARRAY(
        SELECT j.id FROM public.n_jtd AS j
        WHERE j.id = ANY (chosen) ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED);
    PERFORM jtd.unlist(ARRAY(  -- what is not pending any more has no place on the list
        SELECT c.id FROM unnest(chosen) AS c (id) LEFT JOIN public.n_jtd AS j ON j.id = c.id
        WHERE j.id IS NULL OR (j.id = ANY (held) AND j.status_code <> 'pending')));
    PERFORM jtd.step(jtd.pass_gate(ARRAY(
        SELECT j.id FROM public.n_jtd AS j WHERE j.id = ANY (held) AND j.status_code = 'pending')), 'queued');
    UPDATE jtd.queues AS q
    SET next_tenant = coalesce(tenants[p_room + 1], nobody), depth = q.depth + cardinality(held)
    WHERE q.queue_name = p_queue;
    RETURN cardinality(held);
END
$$;
REVOKE ALL ON FUNCTION jtd.admit_queue(text, integer) FROM PUBLIC;
