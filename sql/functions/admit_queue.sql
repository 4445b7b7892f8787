-- Admits up to p_room ready jobs to one queue, an equal share for each tenant in turn.
-- Called by: jtd.admit.  Locks: those of jtd.take_turns; the queue's row in jtd.queues.
-- Returns how many it took off the list; NULL when nothing is left to try now. Jobs that the gate stops end here with
-- their reason. The window of a tenant with nothing left is opened. A job that takes no change (SQLSTATE 22, 23) waits
-- an hour, with a note in its audit trail.
CREATE OR REPLACE FUNCTION jtd.admit_queue(p_queue text, p_room integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    queue jtd.queues;
    looked CONSTANT integer := greatest(1000, p_room + 1);  -- as in jtd.ready_tenants
    tenants uuid[];
    share integer;
    held uuid[];
    holders uuid[];
    passed uuid[];
    opened integer;
BEGIN
    SELECT * INTO queue FROM jtd.queues AS q WHERE q.queue_name = p_queue;
    tenants := ARRAY(
        SELECT t.tenant_id
        FROM jtd.ready_tenants(queue.channel_code, queue.lane, queue.next_tenant, p_room + 1) AS t);
    share := greatest(1, p_room / greatest(1, cardinality(tenants)));
    SELECT coalesce(array_agg(t.jtd_id), '{}'), array_agg(t.tenant_id) INTO held, holders
    FROM jtd.take_turns(queue.channel_code, queue.lane, tenants[1:p_room], share) AS t;
    PERFORM jtd.hold(h.tenant_id, true, queue.channel_code, 'admitted', now() + interval '62 s')
    FROM unnest(holders) AS h (tenant_id)  -- else the next round would admit as many
    JOIN public.n_jtd_tenant_config AS c ON c.tenant_id = h.tenant_id AND c.is_live AND c.is_active
    GROUP BY h.tenant_id, c.id
    HAVING count(*) >= jtd.tenant_rate(c.rate_limits, queue.channel_code);
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
    -- who had his whole share may have more: he is not asked, for that would walk past all that he had before
    DELETE FROM jtd.windows AS w
    USING (
        SELECT t.tenant_id
        FROM unnest(tenants[1:p_room]) AS t (tenant_id)
        LEFT JOIN unnest(holders) AS h (tenant_id) ON h.tenant_id = t.tenant_id
        GROUP BY t.tenant_id
        HAVING count(h.tenant_id) < share
    ) AS t
    WHERE w.channel_code = queue.channel_code AND w.lane = queue.lane AND w.tenant_id = t.tenant_id AND (
        -- the limit keeps this an index probe for each window; the planner would read the whole list
        SELECT true FROM jtd.ready AS r
        WHERE r.channel_code = w.channel_code AND r.lane = w.lane AND r.tenant_id = w.tenant_id
        LIMIT 1) IS NULL;
    GET DIAGNOSTICS opened = ROW_COUNT;
    UPDATE jtd.queues AS q
    SET next_tenant = coalesce(tenants[p_room + 1], (  -- if those looked at were not all: where the next look begins
            SELECT w.tenant_id FROM jtd.windows AS w
            WHERE w.channel_code = queue.channel_code AND w.lane = queue.lane AND w.tenant_id >= queue.next_tenant
            ORDER BY w.tenant_id OFFSET looked LIMIT 1), nobody), depth = q.depth + cardinality(passed)
    WHERE q.queue_name = p_queue;
    RETURN CASE WHEN held <> '{}' OR opened > 0 THEN cardinality(held) END;
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
