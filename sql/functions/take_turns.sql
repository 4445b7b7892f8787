-- Locks the next jobs of some tenants on the list of a lane, at most p_share of each: most urgent first, then oldest.
-- Called by: jtd.admit_queue.  Locks: rows of n_jtd in their turn, SKIP LOCKED.  Nothing there, no rows.
-- Jobs that somebody holds are passed over, and a list row that names no job. Of a tenant who has used up a limit only
-- what is exempt is taken, and of one with a rate limit at most a minute's worth, since the claim lets no more through.
CREATE OR REPLACE FUNCTION jtd.take_turns(p_channel text, p_lane text, p_tenants uuid[], p_share integer)
RETURNS TABLE (jtd_id uuid, tenant_id uuid)
LANGUAGE sql VOLATILE
SET enable_seqscan = off  -- a plan made for a short list would sort a long one
SET enable_bitmapscan = off
SET enable_sort = off
AS $$
    SELECT turn.id, t.tenant_id
    FROM (
        SELECT u.tenant_id, jtd.is_held(u.tenant_id, p_channel) AS is_held,
            least(p_share, (SELECT jtd.tenant_rate(c.rate_limits, p_channel) FROM public.n_jtd_tenant_config AS c
                WHERE c.tenant_id = u.tenant_id AND c.is_live AND c.is_active)) AS share
        FROM unnest(p_tenants) AS u (tenant_id)) AS t
    CROSS JOIN LATERAL (
        SELECT j.id
        FROM (
            (SELECT r.jtd_id
            FROM jtd.ready AS r
            WHERE NOT t.is_held
                AND r.channel_code = p_channel AND r.lane = p_lane AND r.tenant_id = t.tenant_id
            ORDER BY r.priority DESC, r.arrived_at
            LIMIT p_share + 10000)
            UNION ALL
            (SELECT r.jtd_id
            FROM jtd.ready AS r
            WHERE t.is_held AND r.is_exempt
                AND r.channel_code = p_channel AND r.lane = p_lane AND r.tenant_id = t.tenant_id
            ORDER BY r.priority DESC, r.arrived_at
            LIMIT p_share + 10000)
        ) AS r
        -- the lock sits inside the limit, so that a job that somebody holds does not take the place of another
        CROSS JOIN LATERAL (
            SELECT j.id FROM public.n_jtd AS j WHERE j.id = r.jtd_id FOR NO KEY UPDATE SKIP LOCKED) AS j
        LIMIT t.share
    ) AS turn
$$;
REVOKE ALL ON FUNCTION jtd.take_turns(text, text, uuid[], integer) FROM PUBLIC;
